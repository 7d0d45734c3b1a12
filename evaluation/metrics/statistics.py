"""Recovery ratios with paired bootstrap intervals, and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

CONDITIONS = ("clean", "rainy", "derained", "clean_derained")
"""Conditions of a table, in the order of tests and columns; the last one measures harm."""

Measure = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Takes counts (R, N), how often each of N images is in each of R resamples; gives the metric
of each resample (R,), NaN where it is not defined. Counts of ones give the metric itself."""

Interval = tuple[float, float]

UNDEFINED: Interval = (math.nan, math.nan)
"""The interval of a value that is not defined."""

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
_COUNTS_AT_ONCE = 1 << 22


class Bootstrap(NamedTuple):
    """Percentile intervals of one metric, 95 %; `UNDEFINED` where they have no finite end.

    A resample whose value is undefined counts as infinite at both ends: each moves both ends
    outwards, and with more than 2.5 % of them neither end is finite. This concerns `recovery`,
    a ratio to a loss that may be 0. Without such resamples intervals would be too narrow.

    Attributes:
        conditions: of the metric under each condition.
        recovery: see `recovery`.
        harm: of clean_derained - clean.
    """

    conditions: dict[str, Interval]
    recovery: Interval
    harm: Interval


class McNemar(NamedTuple):
    """Images that only one of two runs has right, and the exact p-value, two-sided."""

    only_first: int
    only_second: int
    p_value: float


def recovery(clean: ArrayLike, rainy: ArrayLike, derained: ArrayLike) -> Any:
    """The share of the loss to rain that deraining regains.

    (derained - rainy) / (clean - rainy): 1 is all of it; below 0 deraining does harm.

    Args:
        clean, rainy, derained: a metric under these conditions; floats or arrays.

    Returns:
        float or float64 array; NaN without a loss (clean <= rainy).
    """
    clean, rainy, derained = (np.asarray(x, np.float64) for x in (clean, rainy, derained))
    loss = clean - rainy
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(loss > 0, (derained - rainy) / loss, np.nan)
    return ratio if ratio.ndim else float(ratio)


def bootstrap(
    measures: Mapping[str, Measure], images: int, repeats: int = 2000, seed: int = 0
) -> Bootstrap:
    """Intervals of a metric by resampling whole images, the same ones for all conditions.

    Args:
        measures: of each of `CONDITIONS`, over the same images in the same order.
        images: N, how many.
        repeats: R, number of resamples.
        seed: of the resamples; they depend on it and on N alone, not on the metric.
    """
    rng = np.random.default_rng(seed)
    values = {condition: np.empty(repeats) for condition in CONDITIONS}
    at_once = max(1, min(_COUNTS_AT_ONCE // images, repeats))
    for start in range(0, repeats, at_once):
        counts = np.empty((min(at_once, repeats - start), images), np.int64)
        for row in counts:
            row[:] = np.bincount(rng.integers(images, size=images), minlength=images)
        for condition, measure in measures.items():
            values[condition][start : start + len(counts)] = measure(counts)
    return Bootstrap(
        conditions={condition: _interval(values[condition]) for condition in CONDITIONS},
        recovery=_interval(recovery(*(values[condition] for condition in CONDITIONS[:3]))),
        harm=_interval(values["clean_derained"] - values["clean"]),
    )


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test: are two runs right equally often on the same images?

    Under the null hypothesis an image that only one has right is either's with probability
    1/2: a two-sided binomial test.

    Args:
        first, second: bool (N,), whether each run has each image right.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    total = only_first + only_second
    p_value = float(binomtest(only_first, total).pvalue) if total else 1.0
    return McNemar(only_first, only_second, p_value)


def _interval(values: NDArray[np.float64]) -> Interval:
    undefined = np.isnan(values)
    with np.errstate(invalid="ignore"):  # between a finite and an infinite value
        low = float(np.quantile(np.where(undefined, -np.inf, values), _TAIL))
        high = float(np.quantile(np.where(undefined, np.inf, values), 1 - _TAIL))
    return (low, high) if np.isfinite([low, high]).all() else UNDEFINED
