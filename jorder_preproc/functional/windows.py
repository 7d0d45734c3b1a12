"""Overlapping windows of large images, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PIXELS_AT_ONCE = 1 << 20
"""Pixels held as floats at a time where no tile size is given."""

_SMALLEST_SIDE = 16


class Span(NamedTuple):
    """One window along one axis.

    Attributes:
        source: pixels of the image that the network sees, padding by reflection.
        keep: the part of these whose result counts.
        target: where that part lies in the image.
    """

    source: NDArray[np.intp]
    keep: slice
    target: slice


def spans(size: int, tile: int | None, halo: int, multiple: int, fold: int) -> Iterator[Span]:
    """Cut an axis of `size` pixels into windows that overlap by `halo` to each side.

    All starts are multiples of `multiple`, so that every window is folded like the whole, whose
    size is padded to a multiple of `fold`.
    Nothing is cut off at the borders of the image: there a window sees what the whole does.
    """
    padded = round_up(max(size, _SMALLEST_SIDE), fold)
    # 0 1 2 3 2 1 0 1 ...; a single pixel is repeated
    period = max(2 * (size - 1), 1)
    position = np.arange(padded) % period
    reflected = np.minimum(position, period - position)
    step = padded if tile is None or tile >= padded else (tile - 2 * halo) // multiple * multiple
    for start in range(0, size, step):
        stop = min(start + step, size)
        first, last = max(start - halo, 0), min(start + step + halo, padded)
        yield Span(reflected[first:last], slice(start - first, stop - first), slice(start, stop))


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is not below `value`."""
    return -(-value // multiple) * multiple
