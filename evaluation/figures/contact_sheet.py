"""Contact sheets: rows of thumbnails with captions, under column titles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from jorder_preproc.images import float_to_pixels

GAP_PX = 6
_LINE_PX = 26


def to_thumbnail(image: Tensor, width_px: int) -> Image.Image:
    """An image of that width, from float (1 or 3, H, W), in [0, 1]."""
    pixels = float_to_pixels(image.expand(3, -1, -1), torch.uint8).permute(1, 2, 0).numpy()
    height = max(1, round(width_px * pixels.shape[0] / pixels.shape[1]))
    return Image.fromarray(pixels).resize((width_px, height), Image.Resampling.LANCZOS)


def thumbnail_row(
    images: Iterable[Tensor], captions: Iterable[str], width_px: int
) -> list[tuple[Image.Image, str]]:
    """A row of `draw_sheet`: a thumbnail of each image, with its caption."""
    thumbnails = [to_thumbnail(image, width_px) for image in images]
    return list(zip(thumbnails, captions, strict=True))


def draw_sheet(
    titles: Sequence[str], rows: Sequence[Sequence[tuple[Image.Image, str]]]
) -> Image.Image:
    """Draw rows of thumbnails.

    Args:
        titles: of the columns.
        rows: thumbnails with captions, one for each title; all of one width, and those of a
            row of one height. A long caption continues under the next thumbnail, whose own
            must be empty.

    Raises:
        ValueError: no rows, or one with more or fewer thumbnails than there are titles.
    """
    if not rows or any(len(row) != len(titles) for row in rows):
        lengths = [len(row) for row in rows]
        raise ValueError(f"rows must have {len(titles)} thumbnails each, got {lengths}")
    step = rows[0][0][0].width + GAP_PX
    height = _LINE_PX + sum(row[0][0].height + _LINE_PX + GAP_PX for row in rows)
    sheet = Image.new("RGB", (len(titles) * step, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for column, title in enumerate(titles):
        draw.text((column * step + 4, 2), title, "black", font)
    top = _LINE_PX
    for row in rows:
        for column, (thumbnail, caption) in enumerate(row):
            sheet.paste(thumbnail, (column * step, top))
            draw.text((column * step + 4, top + thumbnail.height + 2), caption, "black", font)
        top += row[0][0].height + _LINE_PX + GAP_PX
    return sheet
