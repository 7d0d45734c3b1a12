"""What the analyses of a derainer share: photographs under rain, their tables and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from rich.table import Table
from rich.text import Text
from torch import Tensor

from evaluation.datasets.photos import Loader
from evaluation.report.tables import MISSING
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.rain import RainPreset, synthesize_rain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("light", "heavy", "rain800")
"""Presets of rain like that of Rain100L, Rain100H and Rain800."""

LARGEST_BYTES = 140_000
"""Of a figure, since pages hold them."""

_QUALITIES = (90, 80, 70, 60, 50)
Cell = str | int | float | None


@dataclass(frozen=True)
class RainyPhotograph:
    """A photograph with rain put on it.

    Attributes:
        name: of the photograph.
        clean: B, float RGB (3, H, W), in [0, 1].
        rainy: O, like it, rounded to 8 bits as files are.
        streak_map: S, float (3, H, W), >= 0.
        region: R, bool (H, W).
    """

    name: str
    clean: Tensor
    rainy: Tensor
    streak_map: Tensor
    region: Tensor


@dataclass(frozen=True)
class Grid:
    """A table: numbers for programs, and the same rounded for people.

    Attributes:
        columns: their titles.
        rows: texts and numbers, one for each column; None where there is no value.
        digits: after the point, of the columns with floats.
        note: below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    def comma_separated(self) -> str:
        """In full precision; empty where there is no value."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow([repr(cell) if isinstance(cell, float) else cell for cell in row])
        return file.getvalue()

    def markdown(self) -> str:
        """As a Markdown table, its note below."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
            for cells in (self.columns, rule, *self._texts())
        ]
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"

    def terminal(self) -> Table:
        """For the terminal."""
        table = Table()
        for number, title in enumerate(self.columns):
            table.add_column(Text(title), justify="right" if number else "left")
        for cells in self._texts():
            table.add_row(*map(Text, cells))
        return table

    def _texts(self) -> list[list[str]]:
        return [
            [self._text(title, cell) for title, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def _text(self, title: str, cell: Cell) -> str:
        if cell is None:
            return MISSING
        return f"{cell:.{self.digits[title]}f}" if isinstance(cell, float) else str(cell)


def put_rain_on(
    photographs: Mapping[str, Loader], preset: str | RainPreset, seed: int
) -> Iterator[RainyPhotograph]:
    """The photographs one by one under rain that depends on the seed and on their names.

    Raises:
        ValueError: unknown preset, or a photograph that cannot be used.
    """
    for name, load in photographs.items():
        clean = load()
        sample = synthesize_rain(clean, preset, seed, image_id=name)
        yield RainyPhotograph(
            name, clean, to_8_bits(sample.rainy), sample.streak_map, sample.region_mask[0] > 0.5
        )


def to_8_bits(image: Tensor) -> Tensor:
    """Float in [0, 1] as a file would hold it; what lies outside is cut off."""
    return pixels_to_float(float_to_pixels(image.detach().cpu().float().clamp(0, 1), torch.uint8))


def score(name: str, restored: Tensor, clean: Tensor) -> tuple[float, float]:
    """PSNR, dB, and SSIM on luminance.

    Raises:
        ValueError: smaller than the window of SSIM.
    """
    try:
        return float(psnr(restored, clean)), float(ssim(restored, clean))
    except ValueError as error:
        raise UserError(f"{name}: {error}; leave this photograph out") from error


def mean_scores(scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Means of PSNR and of SSIM."""
    return tuple(sum(values) / len(values) for values in zip(*scores, strict=True))


def new_figure(width: float = 7.0, height: float = 3.2) -> Figure:
    """A figure for matplotlib, in inches, that needs no display.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            f"the figure needs matplotlib ({error}); pip install --editable '.[evaluation]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Image.Image | Figure, path: Path, largest_bytes: int | None = None) -> Path:
    """Write a sheet as JPEG, or a drawing of matplotlib as PNG.

    Args:
        figure: what to write.
        path: where, without a suffix.
        largest_bytes: a sheet is made coarser, then smaller, until the file has no more.

    Returns:
        The file.
    """
    if not isinstance(figure, Image.Image):
        path = path.with_name(f"{path.name}.png")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})
        return path
    path = path.with_name(f"{path.name}.jpg")
    with atomic_path(path) as temporary:
        temporary.write_bytes(_to_jpeg(figure, largest_bytes))
    return path


def _to_jpeg(picture: Image.Image, largest_bytes: int | None) -> bytes:
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality, optimize=True)
            if largest_bytes is None or file.tell() <= largest_bytes:
                return file.getvalue()
        picture = picture.resize(
            (picture.width * 3 // 4, picture.height * 3 // 4), Image.Resampling.LANCZOS
        )
