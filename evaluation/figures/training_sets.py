"""Networks trained on different kinds of rain, each scored on every kind: Fig. 15."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, thumbnail_row
from evaluation.report.grid import Grid
from evaluation.restoration.methods import Restorer, check_names, make_input_row, open_derainer
from evaluation.restoration.scores import (
    KINDS,
    Scores,
    add_rain_to_all,
    grid_by_kind,
    score,
    to_8_bits,
)
from jorder_preproc.errors import UserError

_WIDTH_PX = 240


def open_networks(given: Sequence[str], derainer: str, device: str = "cpu") -> list[Restorer]:
    """Rows of the table: the rainy images, then the networks.

    Args:
        given: `NAME=FILE`, weights of `derainer` by the name of their training set.
        derainer: name of the network that the weights are for.
        device: where to run them.
    """
    rows = [make_input_row()]
    for text in given:
        name, _, file = text.partition("=")
        if not name or not file:
            raise UserError(
                f"networks must be NAME=FILE, the training set and its weights, got {text!r}"
            )
        rows.append(replace(open_derainer(f"{derainer}={Path(file)}", device), name=name))
    check_names(rows)
    return rows


def compare_training_sets(
    rows: Sequence[Restorer], photographs: Mapping[str, Loader], seed: int = 1
) -> tuple[Grid, Image.Image]:
    """Score every network on every kind of rain.

    Args:
        rows: what `open_networks` gives.

    Returns:
        Mean PSNR and SSIM, rows trained on, columns derained; and a sheet with the first
        photograph.
    """
    scores: dict[str, dict[str, list[Scores]]] = {}
    shown = []
    for kind in KINDS:
        for number, each in enumerate(add_rain_to_all(photographs, kind, seed)):
            images, captions = [], []
            for row in rows:
                restored = to_8_bits(row.restore(kind, each.name, each.rainy))
                own = score(each.name, restored, each.clean)
                scores.setdefault(row.name, {}).setdefault(kind, []).append(own)
                images.append(restored)
                captions.append(f"{own[0]:.2f} dB")
            if number == 0:
                captions[0] = f"{kind}, {captions[0]}"
                shown.append(thumbnail_row([*images, each.clean], [*captions, ""], _WIDTH_PX))
    grid = grid_by_kind("trained on", scores)
    return grid, draw_sheet([*(row.name for row in rows), "clean"], shown)
