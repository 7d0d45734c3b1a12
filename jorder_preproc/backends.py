"""Other runtimes for a network, and lower precision: `use_backend`.

A runtime takes over what takes the time, the prediction for one window; cutting images into
windows, the gate, clamping and the decision whether it rains are the same for all of them.
`python -m evaluation speed` says which is the fastest on a machine.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from jorder_preproc.errors import UserError
from jorder_preproc.int8 import load_ranges, quantize, warn_if_slow
from jorder_preproc.models.jorder import Jorder, StageOutput

Backend = Literal["torch", "compile", "onnxruntime", "openvino"]
"""`torch`: eager mode. `compile`: torch.compile, which needs a C++ compiler and a minute at the
first image. `onnxruntime`, `openvino`: on the CPU; each is an extra of this package."""

Precision = Literal["float32", "bfloat16", "int8"]
"""Of the network's layers; images and results keep theirs. `int8`: most convolutions in 8-bit
integers; see `jorder_preproc.int8`."""

_OPSET = 17
_HALF = ("torch", "compile", "openvino")
_OPENVINO_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}  # of float layers
_INT8 = ("onnxruntime", "openvino")

Engine = Callable[[Tensor, Tensor | None], StageOutput]
"""`Jorder.predict` of one network in another runtime."""


class Window(nn.Module):
    """`Jorder.predict` with tensors alone as inputs and outputs, for tracing.

    `forward` returns B, S, the logits of R and, of networks with `RainPresence`, its features.
    """

    def __init__(self, network: Jorder):
        super().__init__()
        self.network = network

    def forward(self, rainy: Tensor, cues: Tensor | None = None) -> tuple[Tensor, ...]:
        stages = self.network(rainy, cues=cues)
        output = stages[-1]._replace(coarsest=stages[0].coarsest)
        return tuple(part for part in output if part is not None)

    @property
    def example(self) -> dict[str, Tensor]:
        """Inputs by name, small ones."""
        parameter = next(self.network.parameters())
        side = 4 * self.network.multiple
        inputs = {"rainy": torch.zeros(1, 3, side, side).to(parameter)}
        if self.network.image_cues is not None:
            inputs["cues"] = torch.zeros(1, self.network.variant.cues).to(parameter)
        return inputs


def check_backend(backend: str, precision: str) -> None:
    """ValueError for a backend that is unknown, not installed, or not in this precision."""
    if backend not in get_args(Backend):
        raise UserError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    if precision not in get_args(Precision):
        raise UserError(
            f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}"
        )
    if precision == "bfloat16" and backend not in _HALF:
        raise UserError(
            f"{backend} has no bfloat16 on the CPU; use float32, or one of {', '.join(_HALF)}"
        )
    if precision == "int8" and backend not in _INT8:
        raise UserError(f"{backend} has no int8; use float32, or one of {', '.join(_INT8)}")
    if backend in ("onnxruntime", "openvino"):
        require_runtime(backend)


def use_backend(
    network: Jorder, backend: Backend = "torch", precision: Precision = "float32"
) -> Jorder:
    """Run a network in another runtime or precision from now on.

    Args:
        network: for inference; it is changed in place. Another runtime has a copy of its
            weights: later changes of them have no effect.
        backend, precision: see `Backend` and `Precision`.

    Returns:
        The network.

    Raises:
        ValueError: see `check_backend`; the network is not where the runtime works; its weights
            were rounded to bfloat16 before; or, for int8, there are no ranges that belong to them.
    """
    check_backend(backend, precision)
    device = next(network.parameters()).device.type
    if backend in ("onnxruntime", "openvino") and device != "cpu":
        raise UserError(f"{backend} runs on the CPU, the network is on {device}; use torch there")
    # OpenVINO rounds to bfloat16 itself
    half = precision == "bfloat16" and backend != "openvino"
    if not half and next(network.parameters()).dtype == torch.bfloat16:
        raise UserError(
            f"the weights of {network.name} were rounded to bfloat16 before; load them again for "
            f"{precision} with {backend}"
        )
    network.engine = None
    network.to(torch.bfloat16 if half else torch.float32)
    exported = network
    if precision == "int8":
        exported = quantize(network, load_ranges(network), outputs=backend == "onnxruntime")
        warn_if_slow()
    if backend == "onnxruntime":
        network.engine = _Runtime(_onnxruntime_engine, to_onnx(exported))
    elif backend == "openvino":
        network.engine = _Runtime(_OpenVino, to_onnx(exported), precision)
    elif backend == "compile":
        network.engine = _Runtime(_compiled_engine, network)
    return network


def to_onnx(network: Jorder) -> bytes:
    """`Window` of a network as ONNX, for windows of any number and size.

    Inputs are `rainy` (N, 3, H, W), H and W multiples of `Jorder.multiple`, and the `cues` of a
    network with `ImageCues`.
    """
    window = Window(network)
    outputs = StageOutput._fields[: len(window(**window.example))]
    return trace(window, window.example, outputs)


def trace(module: nn.Module, example: dict[str, Tensor], outputs: Sequence[str]) -> bytes:
    """A module as ONNX, by tracing it on an example.

    Args:
        module: with tensors as inputs and outputs.
        example: its inputs by name; numbers of images, heights and widths may be others later.
        outputs: names of its outputs.
    """
    axes = {name: {0: "images"} for name in (*example, *outputs)}
    for name, tensor in example.items():
        if tensor.ndim == 4:
            axes[name] |= {2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, but takes a tenth of the time
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            module,
            tuple(example.values()),
            file,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )
        return file.read_bytes()


def require_runtime(package: str) -> ModuleType:
    """The module `onnxruntime` or `openvino`; ValueError if a part of its extra is missing."""
    try:
        importlib.import_module("onnx")  # of the export
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"{package} needs a package that is not here ({error}); install it by "
            f"pip install 'jorder-preproc[{package}]'"
        ) from error


class _Runtime:
    """An engine that can be pickled: another process starts its own, at the first image."""

    def __init__(self, start: Callable[..., Engine], *source: object):
        self._start, self._source = start, source
        self._engine: Engine | None = start(*source)

    def __call__(self, rainy: Tensor, cues: Tensor | None) -> StageOutput:
        if self._engine is None:
            self._engine = self._start(*self._source)
        return self._engine(rainy, cues)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_engine": None}


def _compiled_engine(network: Jorder) -> Engine:
    compiled = torch.compile(Window(network), dynamic=True)
    return lambda rainy, cues: StageOutput(*compiled(rainy, cues))


def _onnxruntime_engine(onnx: bytes) -> Engine:
    runtime = require_runtime("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = runtime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def run(rainy: Tensor, cues: Tensor | None) -> StageOutput:
        inputs = {"rainy": rainy.numpy()} | ({} if cues is None else {"cues": cues.numpy()})
        return StageOutput(*map(torch.from_numpy, session.run(None, inputs)))

    return run


class _OpenVino:
    """A network in OpenVINO.

    All networks of a process have one core, which ends with the last of them: a core sets up a
    stack for signals, and of two that end in the order of their making the second sets up the first
    one's again, which is gone; the next signal kills the process.
    """

    _cores: ClassVar[WeakValueDictionary[int, Any]] = WeakValueDictionary()  # by process

    def __init__(self, onnx: bytes, precision: Precision):
        process = os.getpid()
        self._core = self._cores.get(process) or require_runtime("openvino").Core()
        self._cores[process] = self._core
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": _OPENVINO_HINTS[precision],
        }
        self._compiled = self._core.compile_model(self._core.read_model(onnx), "CPU", settings)

    def __call__(self, rainy: Tensor, cues: Tensor | None) -> StageOutput:
        inputs = [rainy.numpy()] if cues is None else [rainy.numpy(), cues.numpy()]
        # Where memory runs out OpenVINO may return without an error and without a result; a
        # request that was used before would hold the result of an earlier image then.
        request = self._compiled.create_infer_request()
        # copies: the results are the request's
        output = StageOutput(*(torch.tensor(part) for part in request.infer(inputs).values()))
        if output.background.shape != rainy.shape:
            raise MemoryError("OpenVINO ran out of memory")
        return output
