"""Strips of rows: large features on the CPU are computed a few rows at a time.

What is computed between the input and the result of a strip stays in the processor's cache, and its
memory is used again for the next strip. Memory for whole images is new to the process each time,
which costs about a sixth of the time of a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_WHOLE = ContextVar("whole", default=False)


@contextmanager
def whole_features() -> Iterator[None]:
    """Compute without strips, for hooks: they see whole features, which nothing overwrites."""
    before = _WHOLE.set(True)
    try:
        yield
    finally:
        _WHOLE.reset(before)


def strips(features: Tensor, values: int, fewest: int) -> Iterator[tuple[int, int]]:
    """First and last row + 1 of each strip of features (N, C, H, W).

    Training, other devices, and networks that are exported or compiled take all rows at once.

    Args:
        values: numbers in the features of a strip.
        fewest: rows in a strip, where `values` allows less.
    """
    height = features.shape[2]
    if (
        _WHOLE.get()
        or features.device.type != "cpu"
        or torch.is_grad_enabled()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
    ):
        yield 0, height  # without a loop, which would fix the height of an exported network
        return
    rows = max(values // features[:, :, 0].numel(), fewest)
    for start in range(0, height, rows):
        yield start, min(start + rows, height)
