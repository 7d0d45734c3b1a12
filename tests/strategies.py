"""Hypothesis strategies: sizes and memory layouts of images. Few examples, the same every time."""

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LARGEST = 700
LAYOUTS = ("plain", "turned", "strided", "negative", "read-only", "other bytes")
"""Of arrays: transposed, every second row and column, both axes reversed, not writeable, in the
byte order that the machine does not have."""


def few(examples: int) -> settings:
    """Settings of a property that takes about a second."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def sizes(large: bool = False) -> st.SearchStrategy[tuple[int, int]]:
    """Height and width: both small, or one up to 700 px; with `large`, both may be."""
    small, any_side = st.integers(1, 40), st.integers(1, LARGEST)
    pairs = [st.tuples(small, small), st.tuples(small, any_side), st.tuples(any_side, small)]
    return st.one_of(*pairs, *([st.tuples(any_side, any_side)] if large else []))


def noise(shape: tuple[int, ...], dtype: np.dtype | type, seed: int = 0) -> np.ndarray:
    """Integers over their whole range, or floats in [0, 1], ends included."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "u":
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return np.clip(rng.random(shape) * 1.2 - 0.1, 0, 1).astype(dtype)


def lay_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another layout; `array` is (..., H, W) or (..., H, W, C)."""
    if layout == "turned":
        return np.ascontiguousarray(array.T).T
    if layout == "strided":
        spread = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
        view = spread[tuple(slice(0, None, 2) for _ in array.shape)]
        view[...] = array
        return view
    if layout == "negative":
        flip = tuple(slice(None, None, -1) for _ in array.shape)
        return np.ascontiguousarray(array[flip])[flip]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    if layout == "other bytes":
        return array.astype(array.dtype.newbyteorder("S"))
    return array


def lay_out_tensor(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """The same values in another layout."""
    if layout == "turned":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "strided":
        spread = torch.zeros([2 * size for size in tensor.shape], dtype=tensor.dtype)
        view = spread[tuple(slice(0, None, 2) for _ in tensor.shape)]
        view.copy_(tensor)
        return view
    if layout == "channels last":
        return tensor.movedim(-3, -1).contiguous().movedim(-1, -3)
    return tensor
