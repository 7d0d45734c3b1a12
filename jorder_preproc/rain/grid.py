"""Rounding that makes rain the same on every processor."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = 2.0**16


def to_grid(values: Tensor) -> Tensor:
    """Round computed float64 values to multiples of 2^-16 (1/257 step of 8 bits), as float32.

    The last bit of exp, log, sin and powers depends on the vector instructions of the
    processor. Rounded far above that bit, the result does not: two float64 values that
    differ in it round differently once in about 10^11 pixels.
    """
    return ((values.double() * _STEPS).round() / _STEPS).float()
