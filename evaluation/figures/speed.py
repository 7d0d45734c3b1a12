"""Seconds and memory of derainers per image: Table 3.

The weights are untrained: time and memory do not depend on them.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from evaluation.figures.drawing import new_figure
from evaluation.report.grid import MISSING, Cell, Grid
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.models import DeveilNetwork, build_model, list_models
from jorder_preproc.models.weights import DEVEIL_WEIGHTS

REFERENCE = "jorder_e_practical"
"""The authors' light network, which speed-ups compare with."""

SIZES = ("80x80", "500x500", "1920x1080")
DEVEIL = "+deveil"
_MEGABYTE = 1e6
_WARM_UP = (3, 80, 80)


@dataclass
class Timing:
    """One derainer at one image size.

    Attributes:
        row: name of the derainer.
        size: width and height, px.
        seconds: of each repeat, after the warm-up; empty where it was skipped.
        peak_bytes: memory; None where it was not measured.
    """

    row: str
    size: tuple[int, int]
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None

    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the seconds."""
        low, median, high = np.quantile(self.seconds, (0.25, 0.5, 0.75)).tolist()
        return low, median, high


def default_rows() -> list[str]:
    """Every network, and the shipped one with deveiling."""
    return [*list_models(), f"jorder_e_lite{DEVEIL}"]


def parse_size(text: str) -> tuple[int, int]:
    """Width and height, px, from `WIDTHxHEIGHT`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise UserError(f"a size must be WIDTHxHEIGHT in px, like 500x500, got {text!r}")
    return int(match[1]), int(match[2])


def build_row(name: str, device: str) -> Callable[[Tensor], Tensor]:
    """A derainer with untrained weights, from a float (3, H, W) on the CPU to one like it.

    Args:
        name: of a network, with `+deveil` for deveiling, too (Sec. 5.2).
        device: where to run it.
    """
    network = build_model(name.removesuffix(DEVEIL)).eval().requires_grad_(False)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    deveil = None
    if name.endswith(DEVEIL):
        deveil = DeveilNetwork(DEVEIL_WEIGHTS).eval().requires_grad_(False).to(device)
    # copying the result to the CPU waits for CUDA
    return lambda image: (
        derain(network, image, deveil=deveil is not None, deveil_model=deveil).background
    )


def measure(
    rows: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    device: str = "cpu",
    repeats: int = 5,
    max_seconds: float = 20.0,
    advance: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Time derainers in turn, so that a slow moment of the machine affects all of them.

    A warm-up on 80 x 80 px estimates the seconds of larger images; what would take more than
    `max_seconds` is skipped.

    Args:
        rows: names; see `build_row`.
        sizes: width and height, px.
        device: where to run them.
        repeats: for each row and size.
        max_seconds: see above.
        advance: called after each row of each repeat of each size.

    Returns:
        Size by size, row by row.
    """
    derainers = {name: build_row(name, device) for name in rows}
    speed = {name: _warm_up(run) for name, run in derainers.items()}
    timings: list[Timing] = []
    for width, height in sizes:
        image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
        own = {name: Timing(name, (width, height)) for name in rows}
        short = [name for name in rows if width * height * speed[name] <= max_seconds]
        for _ in range(repeats):
            for name in rows:
                if name in short:
                    own[name].seconds.append(_time(derainers[name], image))
                advance()
        for name in short:
            own[name].peak_bytes = peak_memory(name, (width, height), device)
        timings += own.values()
    return timings


def _warm_up(run: Callable[[Tensor], Tensor]) -> float:
    """Seconds per pixel."""
    image = torch.rand(_WARM_UP, generator=torch.Generator().manual_seed(0))
    run(image)
    return min(_time(run, image) for _ in range(2)) / image[0].numel()


def _time(run: Callable[[Tensor], Tensor], image: Tensor) -> float:
    start = time.perf_counter()
    run(image)
    return time.perf_counter() - start


def peak_memory(row: str, size: tuple[int, int], device: str = "cpu") -> int:
    """Peak memory of deraining one image, bytes, on top of the network and the image.

    On the CPU the growth of the peak resident memory of a new process; on a GPU what PyTorch
    allocated there.
    """
    if not device.startswith("cuda"):
        code = f"from evaluation.figures.speed import print_memory; print_memory({row!r}, {size!r})"
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        child = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return int(json.loads(child.stdout.splitlines()[-1]))
    run, image = build_row(row, device), torch.rand(3, size[1], size[0])
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(image)
    return torch.cuda.max_memory_allocated(device) - before


def print_memory(row: str, size: tuple[int, int]) -> None:
    """Print the peak memory of this process; `peak_memory` runs it in a new one."""
    run, image = build_row(row, "cpu"), torch.rand(3, size[1], size[0])
    run(torch.rand(3, 16, 16))  # PyTorch's own memory
    before = _peak_bytes()
    run(image)
    print(json.dumps(_peak_bytes() - before))


def _peak_bytes() -> int:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux's ru_maxrss starts from that of the parent process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def speed_table(timings: Sequence[Timing], device: str) -> Grid:
    """Median and quartiles of the seconds, memory, and speed-up over the reference."""
    done = [timing for timing in timings if timing.seconds]
    references = {timing.size: timing.quartiles()[1] for timing in done if timing.row == REFERENCE}
    rows: list[list[Cell]] = []
    for timing in timings:
        cells: list[Cell] = [None] * 5
        if timing.seconds:
            low, median, high = timing.quartiles()
            memory = None if timing.peak_bytes is None else timing.peak_bytes / _MEGABYTE
            reference = references.get(timing.size)
            cells = [median, low, high, memory, None if reference is None else reference / median]
        rows.append([timing.row, "x".join(map(str, timing.size)), *cells])
    repeats = max((len(timing.seconds) for timing in timings), default=0)
    note = (
        f"{_device_name(device)}, torch {torch.__version__}; {repeats} repeats, in turn, untrained "
        f"weights. Speed-up is over {REFERENCE} in the same run; memory is what one "
        f"image takes on top of the network. {MISSING} was skipped: too slow here."
    )
    columns = ["derainer", "size", "median, s", "quartile 1, s", "quartile 3, s"]
    digits = {**dict.fromkeys(columns[2:], 3), "peak memory, MB": 0, "speed-up": 2}
    return Grid([*columns, "peak memory, MB", "speed-up"], rows, digits, note)


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def draw_speed(devices: Sequence[tuple[str, Sequence[Timing]]]) -> Figure:
    """Median seconds of each derainer by size, with the quartiles as bars; a plot per device."""
    figure = new_figure(3.5 + 3.5 * len(devices))
    first = None
    for number, (device, timings) in enumerate(devices, 1):
        first = axes = figure.add_subplot(1, len(devices), number, sharey=first)
        done = [timing for timing in timings if timing.seconds]
        for row in dict.fromkeys(timing.row for timing in done):
            own = [timing for timing in done if timing.row == row]
            low, median, high = np.array([timing.quartiles() for timing in own]).T
            pixels = [math.prod(timing.size) for timing in own]
            errors = [median - low, high - median]
            axes.errorbar(pixels, median, errors, marker="o", markersize=4, label=row)
        axes.set(title=device, xscale="log", yscale="log", xlabel="pixels", ylabel="seconds")
        axes.legend(fontsize=7)
    return figure
