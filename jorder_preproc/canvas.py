"""Pictures to read windows from and write windows to, so that no step needs all as float."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from jorder_preproc.images import float_to_pixels, pixels_to_float

Indices = NDArray[np.intp]
Batch = slice | list[int]
_ROWS_AT_ONCE = 256


class FloatCanvas:
    """Pictures as a float tensor.

    Args:
        values: (N, C, H, W).
    """

    def __init__(self, values: Tensor):
        self.values = values

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number, height and width of the pictures."""
        count, _, height, width = self.values.shape
        return count, height, width

    @property
    def channels(self) -> int:
        """C."""
        return self.values.shape[1]

    def blank(self, channels: int) -> FloatCanvas:
        """A black one of this size."""
        count, height, width = self.shape
        return FloatCanvas(self.values.new_zeros(count, channels, height, width))

    def read(self, batch: Batch, rows: Indices, columns: Indices) -> Tensor:
        """The pixels at these indices, float (n, C, h, w)."""
        return self.values[batch][..., torch.from_numpy(rows)[:, None], torch.from_numpy(columns)]

    def write(self, batch: Batch, rows: slice, columns: slice, values: Tensor) -> None:
        """Put float pixels there, cut off at white."""
        # by index nothing is cast
        self.values[batch, :, rows, columns] = values.clamp(max=1).to(self.values)

    def add(self, other: FloatCanvas) -> None:
        """Add all pixels of another one, cut off at white."""
        self.values += other.values
        self.values.clamp_(max=1)

    def overview(self, height: int, width: int) -> Tensor:
        """The pictures as means over `height` x `width` cells, float32 (N, C, h, w)."""
        return adaptive_avg_pool2d(self.values.float(), (height, width))


class PixelCanvas:
    """One picture as an integer array; floats in [0, 1] are rounded to its steps.

    Args:
        pixels: uint8 or uint16 (H, W, C).
        working: dtype of blank ones.
    """

    def __init__(self, pixels: NDArray[Any], working: Any):
        self.pixels = pixels
        self.working = working

    @property
    def shape(self) -> tuple[int, int, int]:
        """One, height and width."""
        return 1, self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> int:
        """C."""
        return int(self.pixels.shape[2])

    def blank(self, channels: int) -> PixelCanvas:
        """A black one of this size."""
        return PixelCanvas(np.zeros((*self.shape[1:], channels), self.working), self.working)

    def read(self, batch: Batch, rows: Indices, columns: Indices) -> Tensor:
        """The pixels at these indices, float (1, C, h, w), in [0, 1]."""
        window = torch.from_numpy(self.pixels[rows[:, None], columns])
        return pixels_to_float(window.permute(2, 0, 1))[None]

    def write(self, batch: Batch, rows: slice, columns: slice, values: Tensor) -> None:
        """Put float pixels there, cut off at white."""
        dtype = torch.uint16 if self.pixels.dtype == np.uint16 else torch.uint8
        pixels = float_to_pixels(values[0].clamp(max=1), dtype)
        self.pixels[rows, columns] = pixels.permute(1, 2, 0).cpu().numpy()

    def add(self, other: PixelCanvas) -> None:
        """Add all pixels of another one of this dtype, cut off at white."""
        white = np.iinfo(self.pixels.dtype).max
        self.pixels += np.minimum(other.pixels, white - self.pixels)

    def overview(self, height: int, width: int) -> Tensor:
        """The picture as means over `height` x `width` cells, float32 (1, C, h, w)."""
        # one row of cells after the other, cut as adaptive pooling cuts them
        _, rows, columns = self.shape
        edges = [(i * rows // height, -(-(i + 1) * rows // height)) for i in range(height)]
        strips = [self.read(slice(None), np.arange(*e), np.arange(columns)) for e in edges]
        return torch.cat([adaptive_avg_pool2d(strip, (1, width)) for strip in strips], 2)

    def as_type(self, dtype: Any) -> NDArray[Any]:
        """The pixels in another dtype, on its scale."""
        if self.pixels.dtype == dtype:
            return self.pixels
        result = np.empty(self.pixels.shape, dtype)
        scaled = PixelCanvas(result, dtype)
        _, rows, columns = self.shape
        for start in range(0, rows, _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, rows))
            values = self.read(slice(None), np.arange(part.start, part.stop), np.arange(columns))
            scaled.write(slice(None), part, slice(None), values)
        return result


AnyCanvas = FloatCanvas | PixelCanvas
