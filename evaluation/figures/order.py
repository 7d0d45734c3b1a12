"""The five orders of deraining and deveiling of Fig. 10."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PIL import Image
from torch import Tensor

from evaluation.datasets.photos import Loader
from evaluation.datasets.subsets import spread
from evaluation.figures.contact_sheet import draw_sheet, thumbnail_row
from evaluation.report.grid import Cell, Grid
from evaluation.restoration.methods import INPUT, TILE_PX
from evaluation.restoration.scores import (
    DIGITS,
    Scores,
    add_rain_to_all,
    mean_scores,
    score,
    to_8_bits,
)
from jorder_preproc.functional.derain import Step, derain
from jorder_preproc.models import DeveilNetwork, Jorder

ORDERS: tuple[tuple[Step, ...], ...] = (
    ("derain",),
    ("derain", "derain"),
    ("derain", "deveil"),
    ("deveil", "derain"),
    ("derain", "deveil", "derain"),
)
"""In the order of Fig. 10; the last is the paper's own."""

_WIDTH_PX = 240


def apply_orders(network: Jorder, deveil: DeveilNetwork, rainy: Tensor) -> dict[str, Tensor]:
    """The rainy image itself, and the result of each order, rounded to 8 bits."""
    restored = {INPUT: to_8_bits(rainy)}
    for order in ORDERS:
        result = derain(
            network,
            restored[INPUT],
            deveil="deveil" in order,
            deveil_model=deveil if "deveil" in order else None,
            order=order,
            tile=TILE_PX,
        )
        restored["-".join(order)] = to_8_bits(result.background)
    return restored


def compare_orders(
    network: Jorder,
    deveil: DeveilNetwork,
    photographs: Mapping[str, Loader],
    *,
    preset: str | None = "storm",
    seed: int = 1,
    samples: int = 4,
) -> tuple[Grid, Grid, Image.Image]:
    """Derain photographs in the five orders.

    Args:
        preset: None where the photographs show real rain, whose target is not known.
        samples: how many photographs the sheet shows, evenly spread.

    Returns:
        Mean PSNR and SSIM of the input and each order; the same of every photograph; both
        without rows if there is no preset. And a sheet with a row of thumbnails for each
        photograph shown.
    """
    names = [INPUT, *map("-".join, ORDERS)]
    shown = set(spread(list(photographs), samples))
    scores: dict[str, list[Scores]] = {name: [] for name in names}
    table: list[list[Cell]] = []
    rows = []
    opened: Iterator[tuple[str, Tensor, Tensor | None]]
    if preset is None:
        opened = ((name, load(), None) for name, load in photographs.items())
    else:
        rained = add_rain_to_all(photographs, preset, seed)
        opened = ((each.name, each.rainy, each.clean) for each in rained)
    for name, rainy, clean in opened:
        images = apply_orders(network, deveil, rainy)
        captions = [name, *[""] * len(ORDERS)]
        if clean is not None:
            own = {order: score(name, image, clean) for order, image in images.items()}
            for order, both in own.items():
                scores[order].append(both)
                table.append([name, order, *both])
            captions = [*(f"{db:.2f} dB" for db, _ in own.values()), name]
            images["clean"] = clean
        if name in shown:
            rows.append(thumbnail_row(images.values(), captions, _WIDTH_PX))
    means = Grid(
        ["order", *DIGITS],
        [[order, *mean_scores(both)] for order, both in scores.items() if both],
        DIGITS,
        f"{len(photographs)} photographs with rain `{preset}`, on luminance; PSNR in dB.",
    )
    titles = names if preset is None else [*names, "clean"]
    return means, Grid(["image", "order", *DIGITS], table, DIGITS), draw_sheet(titles, rows)
