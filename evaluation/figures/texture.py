"""Errors of derained images on the pixels with rain and on the others (Fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, thumbnail_row
from evaluation.report.grid import Grid
from evaluation.restoration.methods import Restorer
from evaluation.restoration.scores import KINDS, add_rain_to_all, check_restored

AMPLIFICATION = 5
"""Of the error maps in the sheet."""

_WIDTH_PX = 240


def study_texture(
    restorers: Sequence[Restorer], photographs: Mapping[str, Loader], seed: int = 1
) -> tuple[Grid, Image.Image]:
    """Mean errors of restored images on the pixels with rain and on those without.

    Args:
        restorers: rows of the table.

    Returns:
        The table, in 8-bit levels over the pixels of all photographs, and a sheet with error
        maps of the first photograph.
    """
    sums: dict[tuple[str, str, bool], list[float]] = {}
    rows = []
    for kind in KINDS:
        for number, each in enumerate(add_rain_to_all(photographs, kind, seed)):
            maps = []
            for restorer in restorers:
                named = f"{restorer.name} of {each.name}"
                restored = restorer.restore(kind, each.name, each.rainy)
                restored = check_restored(named, restored, each.clean)
                error = (restored - each.clean).abs().mean(0, keepdim=True)
                maps.append(error)
                for rain in (True, False):
                    chosen = error[0][each.region == rain].double()
                    total = sums.setdefault((restorer.name, kind, rain), [0.0, 0])
                    total[0] += float(chosen.sum())
                    total[1] += chosen.numel()
            if number == 0:
                levels = [255 * float(error.mean(dtype=torch.double)) for error in maps]
                captions = [kind, "", *(f"mean {level:.2f}" for level in levels)]
                amplified = [(AMPLIFICATION * error).clamp(max=1) for error in maps]
                images = [each.rainy, each.clean, *amplified]
                rows.append(thumbnail_row(images, captions, _WIDTH_PX))
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
