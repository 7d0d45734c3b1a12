"""The processor, and the best rate that it reaches in large layers."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from jorder_preproc.backends import Precision

_INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_bf16", "amx_int8"),
    *("asimd", "sve", "bf16", "i8mm"),
)
_RUNTIMES = ("torch", "onnxruntime", "openvino")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Layer:
    """A layer that shows the best rate of the machine.

    Attributes:
        name: of the layer.
        precision: of its numbers.
        run: computes it.
        flops: floating-point operations of it.
        seconds: of each repeat.
    """

    name: str
    precision: Precision
    run: Callable[[], object]
    flops: int
    seconds: list[float] = field(default_factory=list)


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions of eager PyTorch."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def best_layers(device: str, precisions: Sequence[Precision]) -> list[Layer]:
    """A matrix product, and a 3x3 convolution in both layouts, of each precision.

    int8 has none, since eager PyTorch has no such layers.
    """
    side, width, height = (4096, 960, 640) if device.startswith("cuda") else (1024, 480, 320)
    layers = []
    for precision in precisions:
        if precision not in _DTYPES:
            continue
        dtype = _DTYPES[precision]
        generator = torch.Generator().manual_seed(0)
        matrix = torch.rand(side, side, generator=generator).to(device, dtype)
        features = torch.rand(1, 64, height, width, generator=generator).to(device, dtype)
        weight = torch.rand(64, 64, 3, 3, generator=generator).to(device, dtype)
        runs: dict[str, Callable[[], object]] = {
            "matrix product": partial(torch.mm, matrix, matrix)
        }
        for layout in (torch.contiguous_format, torch.channels_last):
            f, w = (tensor.to(memory_format=layout) for tensor in (features, weight))
            runs[f"3x3 convolution, {layout}"] = partial(torch.conv2d, f, w, padding=1)
        layers += [Layer(name, precision, run, count_flops(run)) for name, run in runs.items()]
    return layers


def describe_machine(device: str) -> str:
    """Processor with its instruction sets and threads, or GPU; versions of the runtimes."""
    if device.startswith("cuda"):
        parts = [torch.cuda.get_device_name(device)]
    else:
        name, flags = _read_processor()
        own = " ".join(flag for flag in _INSTRUCTIONS if flag in flags)
        instructions = f"instructions {own}" if flags else torch.backends.cpu.get_cpu_capability()
        threads = torch.get_num_threads()
        parts = [name, instructions, f"{threads} thread{'s' if threads > 1 else ''}"]
    for runtime in _RUNTIMES:
        with suppress(PackageNotFoundError):
            parts.append(f"{runtime} {version(runtime)}")
    return ", ".join(parts)


def _read_processor() -> tuple[str, set[str]]:
    """Name and flags; the flags are empty where the system does not tell."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    names = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.findall(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    return (names or [platform.processor() or platform.machine()])[0], set(
        *map(str.split, flags[:1])
    )
