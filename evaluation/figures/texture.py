"""Errors of derained images on the pixels with rain and on the others (Fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, to_thumbnail
from evaluation.report.grid import Grid
from evaluation.restoration.methods import Restorer
from evaluation.restoration.scores import KINDS, add_rain_to_all, check_restored

AMPLIFICATION = 5
"""Of the error maps in the sheet."""

_WIDTH_PX = 240


def error_map(restored: Tensor, clean: Tensor) -> Tensor:
    """|restored - clean|, averaged over channels: float (1, H, W), in [0, 1]."""
    return (restored - clean).abs().mean(0, keepdim=True)


def study_texture(
    restorers: Sequence[Restorer],
    photographs: Mapping[str, Loader],
    seed: int = 1,
) -> tuple[Grid, Image.Image]:
    """Mean errors of restored images on the pixels with rain and on those without.

    Args:
        restorers: rows of the table.
        photographs: loaders by name; the rain depends on the name.
        seed: of the rain.

    Returns:
        The table, in 8-bit levels over the pixels of all photographs, and a sheet with error
        maps of the first photograph.

    Raises:
        ValueError: a photograph that cannot be used, or a restorer that gives no such image.
    """
    sums: dict[tuple[str, str, bool], list[float]] = {}
    rows = []
    for kind in KINDS:
        for number, each in enumerate(add_rain_to_all(photographs, kind, seed)):
            maps = []
            for restorer in restorers:
                restored = restorer.restore(kind, each.name, each.rainy)
                named = f"{restorer.name} of {each.name}"
                error = error_map(check_restored(named, restored, each.clean), each.clean)
                maps.append(error)
                for rain in (True, False):
                    chosen = error[0][each.region == rain].double()
                    total = sums.setdefault((restorer.name, kind, rain), [0.0, 0])
                    total[0] += float(chosen.sum())
                    total[1] += chosen.numel()
            if number == 0:
                rows.append(_row(each.rainy, each.clean, maps, kind))
    columns = [f"{kind}, {where}" for kind in KINDS for where in ("rain", "rest")]
    table = []
    for restorer in restorers:
        totals = [sums[restorer.name, kind, rain] for kind in KINDS for rain in (True, False)]
        values = [255 * total / count if count else None for total, count in totals]
        table.append([restorer.name, *values])
    grid = Grid(
        ["mean error", *columns],
        table,
        dict.fromkeys(columns, 2),
        f"Absolute, of 255 levels, over the pixels of {len(photographs)} photographs; rain is "
        "the true R.",
    )
    names = [f"{restorer.name}, |error| x {AMPLIFICATION}" for restorer in restorers]
    return grid, draw_sheet(["rainy", "clean", *names], rows)


def _row(
    rainy: Tensor, clean: Tensor, maps: Sequence[Tensor], kind: str
) -> list[tuple[Image.Image, str]]:
    images = [rainy, clean, *((AMPLIFICATION * error).clamp(max=1) for error in maps)]
    captions = [
        kind,
        "",
        *(f"mean {255 * float(error.mean(dtype=torch.double)):.2f}" for error in maps),
    ]
    thumbnails = [to_thumbnail(image, _WIDTH_PX) for image in images]
    return list(zip(thumbnails, captions, strict=True))
