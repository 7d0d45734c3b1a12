"""What derainers take off beside the rain: errors on rain and on the rest of a picture (Fig. 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, to_thumbnail
from evaluation.figures.rainy_photos import KINDS, Grid, put_rain_on, to_8_bits
from evaluation.restoration.methods import Restorer
from jorder_preproc.errors import UserError

AMPLIFICATION = 5
"""Of the error maps in the sheet."""

_WIDTH_PX = 240


def error_map(restored: Tensor, clean: Tensor) -> Tensor:
    """|restored - clean|, the mean of the channels: float (1, H, W), in [0, 1]."""
    return (restored - clean).abs().mean(0, keepdim=True)


def study_texture(
    restorers: Sequence[Restorer],
    photographs: Mapping[str, Loader],
    *,
    seed: int = 1,
    advance: Callable[[], object] | None = None,
) -> tuple[Grid, Image.Image]:
    """Mean errors of restored pictures on the pixels with rain and on those without.

    Args:
        restorers: rows of the table.
        photographs: their names, which the rain depends on, and how to load them.
        seed: of the rain.
        advance: called after each photograph of each kind of rain.

    Returns:
        The table, in 8-bit levels over the pixels of all photographs, and a sheet with error
        maps of the first photograph.

    Raises:
        ValueError: a photograph that cannot be used, or a restorer that gives no such picture.
    """
    sums: dict[tuple[str, str, bool], list[float]] = {}
    rows = []
    for kind in KINDS:
        for number, each in enumerate(put_rain_on(photographs, kind, seed)):
            maps = []
            for restorer in restorers:
                restored = restorer.restore(kind, each.name, each.rainy)
                if not isinstance(restored, Tensor) or restored.shape != each.clean.shape:
                    got = tuple(getattr(restored, "shape", ())) or type(restored).__name__
                    raise UserError(
                        f"{restorer.name} of {each.name}: expected a float tensor "
                        f"{tuple(each.clean.shape)}, got {got}"
                    )
                error = error_map(to_8_bits(restored), each.clean)
                maps.append(error)
                for rain in (True, False):
                    chosen = error[0][each.region == rain].double()
                    total = sums.setdefault((restorer.name, kind, rain), [0.0, 0])
                    total[0] += float(chosen.sum())
                    total[1] += chosen.numel()
            if number == 0:
                rows.append(_row(each.rainy, each.clean, maps, kind))
            if advance is not None:
                advance()
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
    pictures = [rainy, clean, *((AMPLIFICATION * error).clamp(max=1) for error in maps)]
    captions = [
        kind,
        "",
        *(f"mean {255 * float(error.mean(dtype=torch.double)):.2f}" for error in maps),
    ]
    thumbnails = [to_thumbnail(picture, _WIDTH_PX) for picture in pictures]
    return list(zip(thumbnails, captions, strict=True))
