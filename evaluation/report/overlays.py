"""Draw the predictions of a detector or a segmenter on an image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import cv2
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
    image: NDArray[np.uint8], boxes: ArrayLike, names: Sequence[str], scores: ArrayLike
) -> NDArray[np.uint8]:
    """Boxes with the names of their classes; a class has the same colour on every image.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        boxes: (n, 4), x1 y1 x2 y2, px; clipped to the image.
        names: n names of classes.
        scores: n scores in [0, 1], shown in percent; the best is drawn last, on top.

    Returns:
        uint8 RGB (H, W, 3).
    """
    corners, values = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    if corners.size == 0:
        return image.copy()
    height, width = image.shape[:2]
    limits = np.array([width, height, width, height]) - 1
    corners = np.clip(corners.round(), 0, limits)
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2])
    order = np.argsort(values, kind="stable").tolist()
    drawn = draw_bounding_boxes(
        _planes(image),
        torch.from_numpy(corners[order]),
        [f"{names[i]} {100 * values[i]:.0f} %" for i in order],
        [_COLOURS[zlib.crc32(names[i].encode()) % len(_COLOURS)] for i in order],
        width=max(1, round(min(height, width) / 180)),
        font=matplotlib.font_manager.findfont("DejaVu Sans"),
        font_size=max(10, round(min(height, width) / 28)),
        label_colors="white",
        fill_labels=True,
    )
    return drawn.permute(1, 2, 0).numpy()


def draw_labels(
    image: NDArray[np.uint8], label_map: NDArray[Any], palette: NDArray[Any]
) -> NDArray[np.uint8]:
    """The image under the colours of its labels, half transparent.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        label_map: int (H, W), rows of the palette.
        palette: (C, 3), RGB, 0 to 255.

    Returns:
        uint8 RGB (H, W, 3).
    """
    present = np.unique(label_map)
    masks = torch.from_numpy(label_map == present[:, None, None])
    colours = [tuple(colour) for colour in palette[present].tolist()]
    drawn = draw_segmentation_masks(_planes(image), masks, OPACITY, colours)
    return drawn.permute(1, 2, 0).numpy()


def rgb_of_pipeline(image: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3) of values in [0, 255] as pipelines have them: BGR (H, W, 3), or grey
    (H, W) or (H, W, 1)."""
    grey = image.ndim == 2 or image.shape[2] == 1
    code = cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image).astype(np.uint8), code), np.uint8)


def _planes(image: NDArray[np.uint8]) -> torch.Tensor:
    """The image as torchvision draws on it, (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
