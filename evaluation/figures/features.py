"""What the derainer sees: feature maps of its first and its last layer, Figs. 8 and 20."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, to_thumbnail
from evaluation.figures.rainy_photos import Grid, put_rain_on
from jorder_preproc.errors import UserError
from jorder_preproc.metrics import luminance
from jorder_preproc.models import Jorder

MAPS = 24
"""How many feature maps are shown, as in Fig. 8."""

CROP_PX = 150
_SIDE = 5  # maps in a row of the mosaic, and rows
_EDGE_PX = 72
_GAP_PX = 2
_WIDTH_PX = 366


class Features(NamedTuple):
    """Features of one picture, at the network's own resolution.

    Attributes:
        first: of the first convolution, (C, H, W).
        last: F of the last stage, which R, S and B are predicted from, (C, H, W).
        mask: probability of R at the picture's resolution, (1, H, W); None where the
            network has no R that says where rain is.
    """

    first: Tensor
    last: Tensor
    mask: Tensor | None


@torch.inference_mode()
def find_features(network: Jorder, rainy: Tensor) -> Features:
    """Run the network and keep what its layers give, on the CPU.

    Args:
        network: the derainer.
        rainy: O, float RGB (3, H, W), in [0, 1]; H, W multiples of the fold.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor | list[Tensor]], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor | list[Tensor]) -> None:
            kept[name] = (output if isinstance(output, Tensor) else output[-1])[0].float().cpu()

        return hook

    modules = {
        "first": network.stages[0].get_submodule("encoder"),
        "last": network.stages[-1].get_submodule("context"),
    }
    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        output = network(rainy[None].to(next(network.parameters())))[-1]
    finally:
        for handle in handles:
            handle.remove()
    mask = output.mask_logits[0].float().softmax(0)[1:].cpu() if network.detects_rain else None
    return Features(kept["first"], kept["last"], mask)


def strongest(features: Tensor, count: int = MAPS) -> Tensor:
    """The maps with the highest variance, the highest first: (at most count, H, W).

    Args:
        features: (C, H, W).
        count: how many.
    """
    order = features.flatten(1).double().var(1).argsort(descending=True, stable=True)
    return features[order[:count]]


def mean_correlation(maps: Tensor, target: Tensor) -> float:
    """Mean over the maps of |Pearson's r| with a picture; 0 for one that does not vary.

    Args:
        maps: (n, H, W).
        target: (H, W).
    """
    rows = maps.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    other = target.flatten().double()
    other = other - other.mean()
    norms = rows.norm(dim=1) * other.norm()
    return float((rows @ other).abs().div(norms.clamp(min=1e-12)).mean())


def mosaic(maps: Tensor) -> Tensor:
    """Maps side by side, five in a row, each from black to white: float (1, H, W)."""
    cells = torch.ones(_SIDE**2, _EDGE_PX, _EDGE_PX)
    resized = interpolate(maps[:, None], (_EDGE_PX, _EDGE_PX), mode="area")[:, 0]
    low, high = resized.amin((1, 2), keepdim=True), resized.amax((1, 2), keepdim=True)
    cells[: len(maps)] = (resized - low) / (high - low).clamp(min=1e-12)
    framed = torch.ones(_SIDE**2, _EDGE_PX + _GAP_PX, _EDGE_PX + _GAP_PX)
    framed[:, :_EDGE_PX, :_EDGE_PX] = cells
    step = _EDGE_PX + _GAP_PX
    grid = framed.view(_SIDE, _SIDE, step, step).transpose(1, 2)
    return grid.reshape(1, _SIDE * step, _SIDE * step)


def crop_centre(image: Tensor, multiple: int) -> Tensor:
    """The middle of a picture, (..., H, W), at most `CROP_PX` wide and high, square.

    The side is a multiple of `multiple`, px.

    Raises:
        ValueError: smaller than that.
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
    advance: Callable[[], object] | None = None,
) -> tuple[Grid, Image.Image]:
    """The strongest feature maps, and how far they follow the rain and the scene behind it.

    Args:
        networks: rows; for Fig. 20 the second one is trained without the loss of R.
        photographs: their names, which the rain depends on, and how to load them.
        preset: kind of rain.
        seed: of the rain.
        advance: called after each photograph.

    Returns:
        Mean |r| of the maps with S and with the luminance of B, over the photographs; and a
        sheet with the maps of the first photograph.

    Raises:
        ValueError: unknown preset, or a photograph that cannot be used.
    """
    sums: dict[tuple[str, str], list[tuple[float, float]]] = {}
    rows = []
    for number, each in enumerate(put_rain_on(photographs, preset, seed)):
        for title, network in networks.items():
            rainy, clean, streaks = (
                crop_centre(picture, network.multiple)
                for picture in (each.rainy, each.clean, each.streak_map)
            )
            features = find_features(network, rainy)
            fold = network.variant.unshuffle
            targets = [
                avg_pool2d(picture[None], fold)[0]
                for picture in (streaks.mean(0), luminance(clean).float())
            ]
            pictures = []
            for layer in ("first", "last"):
                maps = strongest(getattr(features, layer))
                both = [mean_correlation(maps, target) for target in targets]
                sums.setdefault((title, layer), []).append((both[0], both[1]))
                pictures.append(mosaic(maps))
            if number == 0:
                mask = torch.ones_like(rainy[:1]) if features.mask is None else features.mask
                thumbnails = [to_thumbnail(p, _WIDTH_PX) for p in (rainy, *pictures, mask)]
                rows.append(list(zip(thumbnails, [title, "", "", ""], strict=True)))
        if advance is not None:
            advance()
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
