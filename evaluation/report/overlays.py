"""Draw the predictions of a detector or a segmenter on an image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import matplotlib.font_manager
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

OPACITY = 0.5
"""Of the colour of a label over the image."""

# dark enough for white text, and told apart on photographs
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
    """Boxes with the names of their classes; a class has the same colour on every image.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        boxes: (n, 4), x1 y1 x2 y2, px; clipped to the image.
        names: n names of classes.
        scores: n scores in [0, 1], shown in percent; the best is drawn last, on top.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: the image is not as above, or the numbers of boxes, names and scores differ.
    """
    planes = _planes(image)
    corners = np.asarray(boxes, np.float64)
    if corners.size == 0:
        return image.copy()
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
    limits = np.array([width, height, width, height]) - 1
    corners = np.clip(corners.round(), 0, limits)
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2])
    drawn = draw_bounding_boxes(
        planes,
        torch.from_numpy(corners[order]),
        [captions[i] for i in order],
        [_COLOURS[zlib.crc32(names[i].encode()) % len(_COLOURS)] for i in order],
        width=max(1, round(min(height, width) / 180)),
        font=matplotlib.font_manager.findfont("DejaVu Sans"),
        font_size=max(10, round(min(height, width) / 28)),
        label_colors="white",
        fill_labels=True,
    )
    return drawn.permute(1, 2, 0).numpy()


def draw_labels(
    image: NDArray[np.uint8], label_map: NDArray[Any], palette: ArrayLike, ignore: int = 255
) -> NDArray[np.uint8]:
    """The image under the colours of its labels, half transparent.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        label_map: int (H, W), rows of the palette.
        palette: (C, 3), RGB, 0 to 255.
        ignore: label whose pixels stay as they are.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: a shape is not as above, or a label is not in the palette.
    """
    planes = _planes(image)
    labels = np.asarray(label_map)
    if labels.shape != image.shape[:2] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"label_map must be integers {image.shape[:2]}, the size of the image, "
            f"got {labels.dtype} {labels.shape}"
        )
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3:
        raise ValueError(f"palette must be (C, 3), RGB, got {colours.shape}")
    present = np.setdiff1d(labels, ignore)
    unknown = present[(present < 0) | (present >= len(colours))]
    if unknown.size:
        raise ValueError(
            f"label_map must hold labels below {len(colours)} or {ignore} to ignore, "
            f"got {unknown[:5].tolist()}; give the palette a colour for each class"
        )
    if not present.size:
        return image.copy()
    masks = torch.from_numpy(labels == present[:, None, None])
    shown = [tuple(colour) for colour in colours[present].tolist()]
    return draw_segmentation_masks(planes, masks, OPACITY, shown).permute(1, 2, 0).numpy()


def _planes(image: NDArray[np.uint8]) -> torch.Tensor:
    """The image as torchvision draws on it, (3, H, W)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}")
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
