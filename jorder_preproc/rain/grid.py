"""Rounding that makes rain identical on every processor."""

from __future__ import annotations

from torch import Tensor

_STEPS = 2.0**16


def to_grid(values: Tensor) -> Tensor:
    """Round to multiples of 2^-16 (1/257 step of 8 bits), as float32.

    The last bit of exp, log, sine and powers depends on the vector instructions of the
    processor. Results computed in float64 and rounded far above that bit do not, except in
    about one of 10^10 pixels.
    """
    return ((values.double() * _STEPS).round() / _STEPS).float()
