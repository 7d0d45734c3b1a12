"""Draw on a picture what a detector or a segmenter said of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

OPACITY = 0.5
"""Of the colour of a label over the picture."""

# dark enough for white text on each of them, and told apart on photographs
_COLOURS = (
    (190, 45, 45),
    (20, 110, 190),
    (25, 125, 70),
    (150, 60, 160),
    (180, 90, 0),
    (0, 120, 130),
    (200, 40, 115),
    (95, 85, 200),
    (110, 105, 20),
    (125, 75, 50),
)


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: ArrayLike,
    names: Sequence[str],
    scores: ArrayLike | None = None,
) -> NDArray[np.uint8]:
    """Boxes with the name of what is in them; a class has one colour on every picture.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        boxes: (n, 4), x1 y1 x2 y2, px; what lies outside the picture is cut off.
        names: n names of classes.
        scores: n scores in [0, 1], shown in percent; the best is drawn last, on top.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: the image is not as above, or there are not as many names or scores
            as boxes.
    """
    _check_image(image)
    corners = np.asarray(boxes, np.float64)
    if corners.size == 0:
        corners = corners.reshape(0, 4)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"boxes must be (n, 4), x1 y1 x2 y2, got {corners.shape}")
    if len(names) != len(corners):
        raise ValueError(f"names must be one for each of {len(corners)} boxes, got {len(names)}")
    captions, order = list(names), list(range(len(corners)))
    if scores is not None:
        values = np.asarray(scores, np.float64)
        if values.shape != (len(corners),):
            raise ValueError(f"scores must be ({len(corners)},), one a box, got {values.shape}")
        captions = [f"{n} {100 * s:.0f} %" for n, s in zip(names, values, strict=True)]
        order = np.argsort(values, kind="stable").tolist()

    height, width = image.shape[:2]
    line = max(1, round(min(height, width) / 180))
    font = ImageFont.load_default(max(10, round(min(height, width) / 28)))
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    limits = np.array([width, height, width, height]) - 1
    placed = np.clip(corners.round(), 0, limits).tolist()
    colours = [_COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)] for name in names]
    for i in order:
        x1, y1, x2, y2 = placed[i]
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colours[i], width=line)
    for i in order:  # after all boxes, so that none runs through a name
        _draw_caption(draw, captions[i], placed[i][:2], (width, height), colours[i], font)
    return np.asarray(picture)


def draw_labels(
    image: NDArray[np.uint8], label_map: NDArray[Any], palette: ArrayLike, ignore: int = 255
) -> NDArray[np.uint8]:
    """The picture under the colours of its labels, half transparent.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        label_map: int (H, W), rows of the palette.
        palette: (C, 3), RGB, 0 to 255.
        ignore: the label that leaves the picture as it is.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: a shape is not as above, or a label is not in the palette.
    """
    _check_image(image)
    labels = np.asarray(label_map)
    if labels.shape != image.shape[:2] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"label_map must be integers {image.shape[:2]}, the size of the image, "
            f"got {labels.dtype} {labels.shape}"
        )
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3:
        raise ValueError(f"palette must be (C, 3), RGB, got {colours.shape}")
    labelled = labels != ignore
    unknown = np.unique(labels[labelled & ((labels < 0) | (labels >= len(colours)))])
    if unknown.size:
        raise ValueError(
            f"label_map must hold labels below {len(colours)} or {ignore} to ignore, "
            f"got {unknown[:5].tolist()}; give the palette a colour for each class"
        )
    picture = Image.fromarray(image)
    cover = Image.fromarray(colours.astype(np.uint8)[np.where(labelled, labels, 0)])
    mask = Image.fromarray(labelled.astype(np.uint8) * 255)
    picture.paste(Image.blend(picture, cover, OPACITY), mask=mask)
    return np.asarray(picture)


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: Sequence[float],
    size: tuple[int, int],
    colour: tuple[int, int, int],
    font: Any,
) -> None:
    """White on the colour of the box, above its corner; below it at the top of the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = 2
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = max(0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + pad - left, y + pad - top), text, "white", font)


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}")
