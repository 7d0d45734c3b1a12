"""Networks as files for ONNX Runtime and OpenVINO: `export_network`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from jorder_preproc.atomic import atomic_path
from jorder_preproc.backends import require_runtime, trace
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain_window
from jorder_preproc.int8 import Ranges, quantize
from jorder_preproc.models.jorder import Jorder

Format = Literal["onnx", "openvino"]

# of the files; the network comes last: without its weights it cannot be read
_SUFFIXES: dict[str, tuple[str, ...]] = {"onnx": (".onnx",), "openvino": (".bin", ".xml")}


class WholeImage(nn.Module):
    """`jorder_preproc.derain` of whole float images, with tensors alone as inputs and outputs.

    Attributes:
        outputs: names of what `forward` returns, like the fields of `Derained`.
    """

    def __init__(self, network: Jorder):
        super().__init__()
        self.network = network
        self.outputs = ["background", "streak_map", "region_mask"]
        if network.presence is not None:
            self.outputs.append("rain_probability")

    def forward(self, rainy: Tensor) -> tuple[Tensor, ...]:
        """B, S, R and the probability of rain.

        Args:
            rainy: O, float32 RGB (N, 3, H, W), in [0, 1]; H, W >= 16.
        """
        height, width = rainy.shape[2:]
        fold = self.network.fold
        padded = pad(rainy, (0, -width % fold, 0, -height % fold), mode="reflect")
        layers, coarsest = derain_window(self.network, padded, None)
        background, streak_map, region_mask = (
            layer[..., :height, :width] for layer in layers.values()
        )
        presence = self.network.presence
        if presence is None or coarsest is None:
            return background, streak_map, region_mask
        cells = coarsest.shape[2] * coarsest.shape[3]
        probability = presence(presence.sums(coarsest), cells).sigmoid()
        rains = (probability >= self.network.dry_threshold)[:, None, None, None]
        return (
            torch.where(rains, background, rainy),
            streak_map * rains,
            region_mask * rains,
            probability,
        )


def check_export(path: Path, format: str) -> None:
    """Report what keeps `export_network` from writing a file, before any work.

    Raises:
        ValueError: unknown format, another ending, the file exists, its folder does not, or a
            package is not installed.
    """
    if format not in _SUFFIXES:
        raise UserError(f"format must be one of {', '.join(_SUFFIXES)}, got {format!r}")
    suffixes = _SUFFIXES[format]
    if path.suffix != suffixes[-1]:
        raise UserError(
            f"a file of the format {format} must end in {suffixes[-1]}, got {path.name}; "
            "change its name or --format"
        )
    for file in map(path.with_suffix, suffixes):
        if file.exists():
            raise UserError(f"{file} exists; remove it or choose another name")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    require_runtime("openvino" if format == "openvino" else "onnxruntime")


def export_network(
    network: Jorder, path: Path, format: Format, ranges: Ranges | None = None
) -> None:
    """Write a network to a file that runs without this package, atomically.

    It computes `WholeImage`, for any number and size of images.

    Args:
        network: for inference, float32, on the CPU.
        path: of the file, which ends in `.onnx`, or in `.xml` for OpenVINO, which gets a
            `.bin` with the weights beside it.
        format: see `path`.
        ranges: of the layers, to compute in 8-bit integers; None computes in float32.

    Raises:
        ValueError: see `check_export`; or the file cannot be written.
    """
    check_export(path, format)
    if ranges is not None:
        network = quantize(network, ranges, outputs=format == "onnx")
    whole = WholeImage(network)
    example = {"rainy": torch.zeros(1, 3, 67, 75)}  # both sides are padded
    content = trace(whole, example, whole.outputs)
    try:
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / path.name
            if format == "onnx":
                saved.write_bytes(content)
            else:
                runtime = require_runtime("openvino")
                model = runtime.Core().read_model(content)
                runtime.save_model(model, saved, compress_to_fp16=False)
            for suffix in _SUFFIXES[format]:
                with atomic_path(path.with_suffix(suffix)) as temporary:
                    temporary.write_bytes(saved.with_suffix(suffix).read_bytes())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}") from error
