"""Feature maps of a derainer's first and last layer, Figs. 8 and 20."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, thumbnail_row
from evaluation.report.grid import Grid
from evaluation.restoration.scores import add_rain_to_all
from jorder_preproc.errors import UserError
from jorder_preproc.metrics import luminance
from jorder_preproc.models import Jorder
from jorder_preproc.models.strips import whole_features

MAPS = 24
"""Number of feature maps shown, as in Fig. 8."""

CROP_PX = 150
_SIDE = 5  # maps in a row of the mosaic, and rows
_EDGE_PX = 72
_GAP_PX = 2
_WIDTH_PX = 366


class Features(NamedTuple):
    """Features of one image, at the network's own resolution.

    Attributes:
        first: of the first convolution, (C, H, W).
        last: F of the last stage, which R, S and B are predicted from, (C, H, W).
        mask: probability of R at the image's resolution, (1, H, W); None where the
            network's R does not mean rain.
    """

    first: Tensor
    last: Tensor
    mask: Tensor | None


@torch.inference_mode()
def find_features(network: Jorder, rainy: Tensor) -> Features:
    """Run the network and keep the outputs of its first and last layer, on the CPU.

    Args:
        network: the derainer.
        rainy: O, float RGB (3, H, W), in [0, 1]; H, W multiples of `network.fold`.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _in: object, output: Tensor | list[Tensor]) -> None:
        kept[name] = (output if isinstance(output, Tensor) else output[-1])[0].float().cpu()

    modules = {
        "first": network.stages[0].get_submodule("encoder"),
        "last": network.stages[-1].get_submodule("context"),
    }
    with ExitStack() as hooks:
        hooks.enter_context(whole_features())
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(keep, name)))
        output = network(rainy[None].to(next(network.parameters())))[-1]
    mask = output.mask_logits[0].float().softmax(0)[1:].cpu() if network.detects_rain else None
    return Features(kept["first"], kept["last"], mask)


def strongest(features: Tensor) -> Tensor:
    """The `MAPS` maps of (C, H, W) with the highest variance, highest first."""
    order = features.flatten(1).double().var(1).argsort(descending=True, stable=True)
    return features[order[:MAPS]]


def mean_correlation(maps: Tensor, target: Tensor) -> float:
    """Mean over maps (n, H, W) of |Pearson's r| with an image (H, W); 0 for constant maps."""
    rows = maps.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    other = target.flatten().double()
    other = other - other.mean()
    norms = rows.norm(dim=1) * other.norm()
    return float((rows @ other).abs().div(norms.clamp(min=1e-12)).mean())


def mosaic(maps: Tensor) -> Tensor:
    """Maps side by side, five in a row, each from black to white: float (1, H, W)."""
    resized = interpolate(maps[:, None], (_EDGE_PX, _EDGE_PX), mode="area")[:, 0]
    low, high = resized.amin((1, 2), keepdim=True), resized.amax((1, 2), keepdim=True)
    step = _EDGE_PX + _GAP_PX
    framed = torch.ones(_SIDE**2, step, step)
    framed[: len(maps), :_EDGE_PX, :_EDGE_PX] = (resized - low) / (high - low).clamp(min=1e-12)
    grid = framed.view(_SIDE, _SIDE, step, step).transpose(1, 2)
    return grid.reshape(1, _SIDE * step, _SIDE * step)


def crop_centre(image: Tensor, multiple: int) -> Tensor:
    """The central square of (..., H, W), at most `CROP_PX` wide, a multiple of `multiple`.

    Raises:
        ValueError: smaller than `multiple`.
    """
    height, width = image.shape[-2:]
    side = min(height, width, CROP_PX) // multiple * multiple
    if side == 0:
        raise UserError(f"at least {multiple} x {multiple} px are needed, got {width} x {height}")
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


def study_features(
    networks: Mapping[str, Jorder],
    photographs: Mapping[str, Loader],
    *,
    preset: str = "heavy",
    seed: int = 1,
) -> tuple[Grid, Image.Image]:
    """The strongest feature maps, and their correlation with the rain and the scene behind it.

    Args:
        networks: rows by title; for Fig. 20 the second one is trained without the loss of R.

    Returns:
        Mean |r| of the maps with S and with the luminance of B; and a sheet with the maps of the
        first photograph.
    """
    sums: dict[tuple[str, str], list[list[float]]] = {}
    rows = []
    for number, each in enumerate(add_rain_to_all(photographs, preset, seed)):
        for title, network in networks.items():
            rainy, clean, streaks = (
                crop_centre(image, network.fold)
                for image in (each.rainy, each.clean, each.streak_map)
            )
            features = find_features(network, rainy)
            fold = network.variant.unshuffle
            targets = [
                avg_pool2d(image[None], fold)[0]
                for image in (streaks.mean(0), luminance(clean).float())
            ]
            mosaics = []
            for layer in ("first", "last"):
                maps = strongest(getattr(features, layer))
                both = [mean_correlation(maps, target) for target in targets]
                sums.setdefault((title, layer), []).append(both)
                mosaics.append(mosaic(maps))
            if number == 0:
                mask = torch.ones_like(rainy[:1]) if features.mask is None else features.mask
                captions = (title, "", "", "")
                rows.append(thumbnail_row((rainy, *mosaics, mask), captions, _WIDTH_PX))
    columns = ["|r| with streaks", "|r| with scene"]
    table = [
        [f"{title}, {layer} layer", *(sum(v) / len(v) for v in zip(*values, strict=True))]
        for (title, layer), values in sums.items()
    ]
    grid = Grid(
        ["network", *columns],
        table,
        dict.fromkeys(columns, 3),
        f"Of the {MAPS} maps with the highest variance, means over {len(photographs)} photographs "
        f"with rain `{preset}`; streaks are S, the scene is the luminance of B.",
    )
    return grid, draw_sheet(["rainy", "first layer", "last layer", "R"], rows)
