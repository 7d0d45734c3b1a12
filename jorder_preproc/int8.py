"""8-bit convolutions: ranges of their inputs and outputs, and networks that compute with these.

The convolutions of the context networks have 8-bit weights, with a scale per output channel, and
8-bit inputs between the least and the largest value seen on calibration images; ranges by
percentiles cost more PSNR. Of an encoder-decoder these are the convolutions behind a normalisation,
whose inputs have narrow ranges. The others gained no time in 8 bits at 481x321 and cost most of the
PSNR: behind a gate, values are products with a few large ones; convolutions between resolutions
pass on all features; depth-wise ones are limited by memory. The first convolution and the heads
stay float, since their errors are errors of the image.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from jorder_preproc.atomic import write_text
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.models.jorder import Jorder

Range = tuple[float, float]
"""Least and largest value."""

Ranges = dict[str, dict[str, Range]]
"""Of `input` and `output`, by name of the convolution in its network."""

_TILE_PX = 1024
_SMALLEST_SCALE = 1e-8  # of channels that are zero
_NORMALISED = (".expand", ".mix_in")  # of a `GatedBlock`


def quantized_layers(network: Jorder) -> dict[str, nn.Conv2d]:
    """The convolutions that are computed in 8 bits, by name."""
    convolutions = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and ".context." in name
    }
    if network.variant.context == "encoder_decoder":
        return {n: layer for n, layer in convolutions.items() if n.endswith(_NORMALISED)}
    return convolutions


def measure_ranges(network: Jorder, images: Iterable[Tensor]) -> Ranges:
    """The ranges of the inputs and outputs of `quantized_layers` on some images.

    Args:
        network: for inference, without another runtime.
        images: rainy ones, as `derain` takes them; about 30 of the kind that will be derained.
    """
    ranges: Ranges = {}

    def widen(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen = ranges.setdefault(name, {})
        for what, tensor in (("input", inputs[0]), ("output", output)):
            low, high = (value.item() for value in tensor.aminmax())
            before = seen.get(what, (0.0, 0.0))  # padding is zero
            seen[what] = min(low, before[0]), max(high, before[1])

    hooks = [
        layer.register_forward_hook(partial(widen, name))
        for name, layer in quantized_layers(network).items()
    ]
    try:
        for image in images:
            derain(network, image, tile=_TILE_PX, dry="derain")
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


def save_ranges(network: Jorder, ranges: Ranges) -> Path:
    """Write ranges beside the weights that the network was loaded from; returns the file."""
    path = _ranges_file(network)
    content = {"weights_sha256": weights_sha256(network), "ranges": ranges}
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def load_ranges(network: Jorder) -> Ranges:
    """The ranges that lie beside the network's weights.

    Raises:
        ValueError: there are none, they were measured with other weights, or the file is damaged.
    """
    path = _ranges_file(network)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["weights_sha256"] == weights_sha256(network):
            ranges = content["ranges"]
            return {
                name: {what: _check_range(ranges[name][what]) for what in ("input", "output")}
                for name in quantized_layers(network)
            }
        reason = "was measured with other weights"
    except FileNotFoundError:
        reason = "does not exist"
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        reason = f"is damaged ({type(error).__name__}: {error})"
    raise UserError(
        f"int8 needs the ranges of {network.name}'s features, and {path} {reason}; measure "
        f"them with `python -m training ranges {network.weights_file} PHOTOS "
        f"--model {network.name}`, or export a file with `jorder export FILE --int8 "
        "--calibration RAINY_IMAGES`"
    )


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 of the tensors of a network in float32, whatever file they come from."""
    tensors = {
        key: value.detach().to("cpu", torch.float32).contiguous()
        for key, value in network.state_dict().items()
    }
    return hashlib.sha256(save(tensors)).hexdigest()


def quantize(network: Jorder, ranges: Ranges, outputs: bool) -> Jorder:
    """A copy of a network that rounds as 8-bit convolutions do, to be exported.

    Its ONNX has the QDQ form, pairs of QuantizeLinear and DequantizeLinear, which runtimes turn
    into 8-bit convolutions.

    Args:
        network: for inference, in float32.
        ranges: of its layers.
        outputs: round the outputs of the layers as well: ONNX Runtime has fast convolutions
            only with 8-bit outputs, OpenVINO is faster without.
    """
    result = copy.deepcopy(network)
    for name, layer in quantized_layers(result).items():
        parent, _, child = name.rpartition(".")
        rounded = _QuantizedConv(
            layer, ranges[name]["input"], ranges[name]["output"] if outputs else None
        )
        setattr(result.get_submodule(parent), child, rounded)
    return result


def warn_if_slow() -> None:
    """Warn where the processor has no instructions for products of 8-bit integers."""
    # AVX-VNNI, and ARM's dot products; torch before 2.9 only knows those of AVX-512
    found: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    if not (torch.cpu._is_vnni_supported() or found.get("avx_vnni") or found.get("dot")):
        warnings.warn(
            "this processor has no VNNI instructions: precision='int8' is probably slower here "
            "than 'float32', and less exact; `python -m evaluation speed` measures both",
            stacklevel=3,
        )


class _QuantizedConv(nn.Module):
    """A convolution with 8-bit weights and inputs, as float numbers rounded to these."""

    def __init__(self, layer: nn.Conv2d, input: Range, output: Range | None):
        super().__init__()
        self.layer = layer
        self.input = _scale_and_zero(input)
        self.output = None if output is None else _scale_and_zero(output)
        self.scales = layer.weight.detach().abs().amax((1, 2, 3)).clamp(min=_SMALLEST_SCALE) / 127
        self.zeros = torch.zeros_like(self.scales, dtype=torch.int32)

    def forward(self, features: Tensor) -> Tensor:
        rounded = torch.fake_quantize_per_tensor_affine(features, *self.input, 0, 255)
        weight = torch.fake_quantize_per_channel_affine(
            self.layer.weight, self.scales, self.zeros, 0, -128, 127
        )
        result: Tensor = self.layer._conv_forward(rounded, weight, self.layer.bias)
        if self.output is not None:
            result = torch.fake_quantize_per_tensor_affine(result, *self.output, 0, 255)
        return result


def _scale_and_zero(values: Range) -> tuple[float, int]:
    """Of unsigned 8-bit numbers that cover a range with 0 in it."""
    low, high = values
    scale = max((high - low) / 255, _SMALLEST_SCALE)
    return scale, round(-low / scale)


def _check_range(values: Range) -> Range:
    low, high = values
    if not -math.inf < low <= 0 <= high < math.inf:
        raise ValueError(f"no range around 0: {values}")
    return low, high


def ranges_file(weights: Path) -> Path:
    """Where the ranges of a file of weights lie."""
    return weights.with_suffix(".int8.json")


def _ranges_file(network: Jorder) -> Path:
    if network.weights_file is None:
        raise UserError(
            f"int8 needs ranges that lie beside the weights of {network.name}, which come from "
            "no file; save them and load them with load_model"
        )
    return ranges_file(network.weights_file)
