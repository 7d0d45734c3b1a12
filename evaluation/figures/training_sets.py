"""Networks trained on different kinds of rain, each compared on every kind: Fig. 15."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, to_thumbnail
from evaluation.figures.rainy_photos import KINDS, Grid, mean_scores, put_rain_on, score, to_8_bits
from evaluation.restoration.methods import Restorer, do_nothing, our_restorer
from jorder_preproc.errors import UserError

_WIDTH_PX = 240


def open_networks(given: Sequence[str], derainer: str, device: str = "cpu") -> list[Restorer]:
    """Rows of the table: the rainy pictures, then the networks.

    Args:
        given: `NAME=FILE` or `NAME=WEIGHTS`, weights of `derainer` by the name of what they
            were trained on.
        derainer: the network that all of them are of.
        device: where to run them.

    Raises:
        ValueError: not such a text, two of one name, or weights that do not fit.
        FileNotFoundError: no such weights.
    """
    rows = [do_nothing()]
    for text in given:
        name, _, file = text.partition("=")
        if not name or not file:
            raise UserError(
                f"networks must be NAME=FILE, the training set and its weights, got {text!r}"
            )
        rows.append(replace(our_restorer(f"{derainer}={Path(file)}", device), name=name))
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise UserError(f"two rows have one name, of {', '.join(names)}; name one otherwise")
    return rows


def compare_training_sets(
    rows: Sequence[Restorer],
    photographs: Mapping[str, Loader],
    *,
    seed: int = 1,
    advance: Callable[[], object] | None = None,
) -> tuple[Grid, Image.Image]:
    """Every network on every kind of rain.

    Args:
        rows: what `open_networks` gives.
        photographs: their names, which the rain depends on, and how to load them.
        seed: of the rain.
        advance: called after each photograph of each kind.

    Returns:
        Mean PSNR and SSIM, rows trained on, columns derained; and a sheet with the first
        photograph.

    Raises:
        ValueError: a photograph that cannot be used.
    """
    scores: dict[tuple[str, str], list[tuple[float, float]]] = {}
    thumbnails = []
    for kind in KINDS:
        for number, each in enumerate(put_rain_on(photographs, kind, seed)):
            shown: list[tuple[Image.Image, str]] = []
            for row in rows:
                restored = to_8_bits(row.restore(kind, each.name, each.rainy))
                own = score(each.name, restored, each.clean)
                scores.setdefault((row.name, kind), []).append(own)
                if number == 0:
                    caption = f"{kind}, {own[0]:.2f} dB" if not shown else f"{own[0]:.2f} dB"
                    shown.append((to_thumbnail(restored, _WIDTH_PX), caption))
            if shown:
                thumbnails.append([*shown, (to_thumbnail(each.clean, _WIDTH_PX), "")])
            if advance is not None:
                advance()
    columns = [f"{kind} {metric}" for kind in KINDS for metric in ("PSNR", "SSIM")]
    grid = Grid(
        ["trained on", *columns],
        [
            [row.name, *(v for kind in KINDS for v in mean_scores(scores[row.name, kind]))]
            for row in rows
        ],
        {column: 2 if column.endswith("PSNR") else 4 for column in columns},
        f"Means over {len(photographs)} photographs, on luminance; PSNR in dB.",
    )
    return grid, draw_sheet([*(row.name for row in rows), "clean"], thumbnails)
