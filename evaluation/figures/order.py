"""In which order to take streaks and veil off: the five of Fig. 10."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from PIL import Image
from torch import Tensor

from evaluation.datasets.photos import Loader
from evaluation.downstream.protocol import spread
from evaluation.figures.contact_sheet import draw_sheet, to_thumbnail
from evaluation.figures.rainy_photos import Cell, Grid, mean_scores, put_rain_on, score, to_8_bits
from evaluation.restoration.methods import INPUT
from jorder_preproc.functional.derain import Step, derain
from jorder_preproc.models import DeveilNetwork, Jorder

ORDERS: tuple[tuple[Step, ...], ...] = (
    ("derain",),
    ("derain", "derain"),
    ("derain", "deveil"),
    ("deveil", "derain"),
    ("derain", "deveil", "derain"),
)
"""As Fig. 10 lists them; the last is the paper's own."""

_TILE_PX = 1024  # bounds the memory that large photographs take
_WIDTH_PX = 240


def order_name(order: Sequence[Step]) -> str:
    """The steps, with `-` between them."""
    return "-".join(order)


def take_orders(network: Jorder, deveil: DeveilNetwork, rainy: Tensor) -> dict[str, Tensor]:
    """The picture itself, and after the steps of each order, rounded to 8 bits as files are.

    Args:
        network: the derainer.
        deveil: on the same device.
        rainy: O, float RGB (3, H, W), in [0, 1].
    """
    restored = {INPUT: to_8_bits(rainy)}
    for order in ORDERS:
        result = derain(
            network,
            restored[INPUT],
            deveil="deveil" in order,
            deveil_model=deveil if "deveil" in order else None,
            order=order,
            tile=_TILE_PX,
        )
        restored[order_name(order)] = to_8_bits(result.background)
    return restored


def compare_orders(
    network: Jorder,
    deveil: DeveilNetwork,
    photographs: Mapping[str, Loader],
    *,
    preset: str | None = "storm",
    seed: int = 1,
    samples: int = 4,
    advance: Callable[[], object] | None = None,
) -> tuple[Grid, Grid, Image.Image]:
    """Take the five orders on photographs.

    Args:
        network: the derainer.
        deveil: on the same device.
        photographs: their names, which the rain depends on, and how to load them.
        preset: the rain that is put on clean photographs; None takes photographs with rain
            of their own, of which the truth is not known.
        seed: of the rain.
        samples: how many photographs the sheet shows, evenly spread.
        advance: called after each photograph.

    Returns:
        Mean PSNR and SSIM of the input and each order; the same of every photograph; both
        without rows if there is no preset. And a sheet with a row of thumbnails for each
        photograph shown.

    Raises:
        ValueError: unknown preset, or a photograph that cannot be used.
    """
    names = [INPUT, *map(order_name, ORDERS)]
    shown = set(spread(len(photographs), samples))
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    table: list[list[Cell]] = []
    rows = []
    for number, (name, rainy, clean) in enumerate(_open(photographs, preset, seed)):
        pictures = take_orders(network, deveil, rainy)
        captions = [name, *[""] * len(ORDERS)]
        if clean is not None:
            own = {order: score(name, picture, clean) for order, picture in pictures.items()}
            for order, both in own.items():
                scores[order].append(both)
                table.append([name, order, *both])
            captions = [*(f"{db:.2f} dB" for db, _ in own.values()), name]
            pictures["clean"] = clean
        if number in shown:
            thumbnails = [to_thumbnail(picture, _WIDTH_PX) for picture in pictures.values()]
            rows.append(list(zip(thumbnails, captions, strict=True)))
        if advance is not None:
            advance()
    digits = {"PSNR": 2, "SSIM": 4}
    means = Grid(
        ["order", *digits],
        [[order, *mean_scores(both)] for order, both in scores.items() if both],
        digits,
        f"{len(photographs)} photographs with rain `{preset}`, on luminance; PSNR in dB.",
    )
    titles = names if preset is None else [*names, "clean"]
    return means, Grid(["image", "order", *digits], table, digits), draw_sheet(titles, rows)


def _open(
    photographs: Mapping[str, Loader], preset: str | None, seed: int
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Name, rainy picture, and the clean one where rain was put on it."""
    if preset is None:
        for name, load in photographs.items():
            yield name, load(), None
    else:
        for each in put_rain_on(photographs, preset, seed):
            yield each.name, each.rainy, each.clean
