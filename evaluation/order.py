"""In which order to take streaks and veil off: the five of Fig. 10."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from torch import Tensor

from evaluation.photographs import Loader
from evaluation.run import spread
from evaluation.sheets import draw_sheet, to_thumbnail
from jorder_preproc.atomic import atomic_path
from jorder_preproc.derain import Step, derain
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.models import DeveilNetwork, Jorder
from jorder_preproc.rain import RainPreset, synthesize_rain

ORDERS: tuple[tuple[Step, ...], ...] = (
    ("derain",),
    ("derain", "derain"),
    ("derain", "deveil"),
    ("deveil", "derain"),
    ("derain", "deveil", "derain"),
)
"""As Fig. 10 lists them; the last is the paper's own."""

INPUT = "input"
"""What tables call the picture before the first step."""

_TILE_PX = 1024  # bounds the memory that large photographs take
_WIDTH_PX = 240


@dataclass(frozen=True)
class Score:
    """One photograph after the steps of one order, against the photograph without rain.

    Attributes:
        image: name of the photograph.
        order: steps with `-` between them, or `INPUT`.
        psnr: on luminance, dB.
        ssim: on luminance.
    """

    image: str
    order: str
    psnr: float
    ssim: float


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
    restored = {INPUT: _to_8_bits(rainy)}
    for order in ORDERS:
        result = derain(
            network,
            restored[INPUT],
            deveil=deveil if "deveil" in order else None,
            order=order,
            tile=_TILE_PX,
        )
        restored[order_name(order)] = _to_8_bits(result.background)
    return restored


def compare_orders(
    network: Jorder,
    deveil: DeveilNetwork,
    photographs: Mapping[str, Loader],
    out: Path,
    *,
    preset: str | RainPreset | None = "storm",
    seed: int = 1,
    samples: int = 4,
    advance: Callable[[], object] | None = None,
) -> list[Score]:
    """Take the five orders on photographs, and write tables and a sheet of pictures.

    Writes `order.jpg`, a row of thumbnails for some photographs, and where rain was put on
    them `order.csv`, a row for each photograph and order, and `order.md`, their means.

    Args:
        network: the derainer.
        deveil: on the same device.
        photographs: their names, which the rain depends on, and how to load them.
        out: folder to write to.
        preset: the rain that is put on clean photographs; None takes photographs with rain
            of their own, of which the truth is not known.
        seed: of the rain.
        samples: how many photographs the sheet shows, evenly spread.
        advance: called after each photograph.

    Returns:
        For each photograph the input and each order; empty without a preset.

    Raises:
        ValueError: a photograph that cannot be used.
    """
    names = [INPUT, *map(order_name, ORDERS)]
    shown = set(spread(len(photographs), samples))
    scores: list[Score] = []
    rows = []
    for number, (name, load) in enumerate(photographs.items()):
        image = load()
        rainy = image
        if preset is not None:
            rainy = synthesize_rain(image, preset, seed, image_id=Path(name).name).rainy
        restored = take_orders(network, deveil, rainy)
        own = [] if preset is None else score(name, restored, image)
        scores += own
        if number in shown:
            captions = [f"{one.psnr:.2f} dB" for one in own] or [name, *[""] * len(ORDERS)]
            pictures = [restored[each] for each in names]
            if preset is not None:
                pictures, captions = [*pictures, image], [*captions, name]
            thumbnails = [to_thumbnail(picture, _WIDTH_PX) for picture in pictures]
            rows.append(list(zip(thumbnails, captions, strict=True)))
        if advance is not None:
            advance()
    out.mkdir(parents=True, exist_ok=True)
    titles = names if preset is None else [*names, "clean"]
    with atomic_path(out / "order.jpg") as temporary:
        draw_sheet(titles, rows).save(temporary, "JPEG", quality=92)
    if scores:
        for file, text in (("csv", comma_separated(scores)), ("md", markdown(scores))):
            with atomic_path(out / f"order.{file}") as temporary:
                temporary.write_text(text, encoding="utf-8")
    return scores


def score(name: str, restored: Mapping[str, Tensor], clean: Tensor) -> list[Score]:
    """Scores of what `take_orders` made of one photograph.

    Raises:
        ValueError: smaller than the window of SSIM.
    """
    try:
        return [
            Score(name, order, float(psnr(picture, clean)), float(ssim(picture, clean)))
            for order, picture in restored.items()
        ]
    except ValueError as error:
        raise ValueError(f"{name}: {error}; leave this photograph out") from error


def means(scores: Iterable[Score]) -> list[tuple[str, float, float]]:
    """Order, mean PSNR and mean SSIM over the photographs; the input first."""
    groups: dict[str, list[Score]] = {}
    for one in scores:
        groups.setdefault(one.order, []).append(one)
    return [
        (order, sum(s.psnr for s in group) / len(group), sum(s.ssim for s in group) / len(group))
        for order, group in groups.items()
    ]


def comma_separated(scores: Iterable[Score]) -> str:
    """One row for each photograph and order, in full precision, for programs."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["image", "order", "psnr", "ssim"])
    writer.writerows([s.image, s.order, repr(s.psnr), repr(s.ssim)] for s in scores)
    return file.getvalue()


def markdown(scores: Sequence[Score]) -> str:
    """The means as a Markdown table."""
    lines = ["| order | PSNR, dB | SSIM |", "| --- | ---: | ---: |"]
    lines += [f"| {order} | {db:.2f} | {share:.4f} |" for order, db, share in means(scores)]
    photographs = len({s.image for s in scores})
    return "\n".join([*lines, "", f"Means over {photographs} photographs, on luminance."]) + "\n"


def terminal_table(scores: Sequence[Score]) -> Table:
    """The means as a table for the terminal."""
    table = Table("order", "PSNR, dB", "SSIM")
    for column in table.columns[1:]:
        column.justify = "right"
    for order, db, share in means(scores):
        table.add_row(order, f"{db:.2f}", f"{share:.4f}")
    return table


def _to_8_bits(image: Tensor) -> Tensor:
    return (image * 255).round() / 255
