"""Windows and strips of large images, so that few of their pixels are floats at a time.

Images are tensors (N, C, H, W) of float, uint8 or uint16; see `jorder_preproc.images`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from jorder_preproc.images import float_to_pixels, pixels_to_float

PIXELS_AT_ONCE = 1 << 20
"""Pixels held as floats at a time where no tile size is given."""

_SMALLEST_SIDE = 16


class Span(NamedTuple):
    """One window along one axis.

    Attributes:
        source: indices of the pixels that the network sees; padding is by reflection.
        keep: the part of these whose result is kept.
        target: where that part lies in the image.
    """

    source: Tensor
    keep: slice
    target: slice


def spans(size: int, tile: int | None, halo: int, multiple: int, fold: int) -> Iterator[Span]:
    """Cut an axis of `size` pixels into windows that overlap by `halo` to each side.

    Windows start at multiples of `multiple`, so that each is folded as the whole image is,
    which is padded to a multiple of `fold`. At the border of the image a window sees no more
    padding than the whole image does.
    """
    padded = math.ceil(max(size, _SMALLEST_SIDE) / fold) * fold
    # 0 1 2 3 2 1 0 1 ...; a single pixel is repeated
    period = max(2 * (size - 1), 1)
    position = torch.arange(padded, device="cpu") % period
    reflected = torch.minimum(position, period - position)
    step = padded if tile is None or tile >= padded else (tile - 2 * halo) // multiple * multiple
    for start in range(0, size, step):
        stop = min(start + step, size)
        first, last = max(start - halo, 0), min(start + step + halo, padded)
        yield Span(reflected[first:last], slice(start - first, stop - first), slice(start, stop))


def cells_of(rows: Span, columns: Span, cell: int) -> tuple[EllipsisType, slice, slice]:
    """Index of the kept part of a window in features with one cell per `cell` px."""
    down, across = (
        slice(span.keep.start // cell, -(-span.keep.stop // cell)) for span in (rows, columns)
    )
    return ..., down, across


def strips(images: Tensor) -> Iterator[slice]:
    """The rows of images, as many at a time as `PIXELS_AT_ONCE` allows."""
    count, _, height, width = images.shape
    rows = max(1, PIXELS_AT_ONCE // max(count * width, 1))
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


def convert(images: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of images in another dtype, on its scale."""
    if images.dtype == dtype:
        return images.clone()
    result = torch.empty_like(images, dtype=dtype)
    for rows in strips(images):
        result[:, :, rows] = float_to_pixels(pixels_to_float(images[:, :, rows]), dtype)
    return result


def overview(images: Tensor, height: int, width: int) -> Tensor:
    """Means over `height` x `width` cells of images, float32 (N, C, height, width)."""
    if images.is_floating_point():
        return adaptive_avg_pool2d(images.float(), (height, width))
    # one row of cells after the other, cut as adaptive pooling cuts them
    size = images.shape[2]
    rows = (slice(i * size // height, -(-(i + 1) * size // height)) for i in range(height))
    cells = [adaptive_avg_pool2d(pixels_to_float(images[:, :, row]), (1, width)) for row in rows]
    return torch.cat(cells, 2)
