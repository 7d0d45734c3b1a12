"""Records and scores of all three tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.statistics import Measure

Record = Mapping[str, NDArray[Any]]
"""Prediction and target of one image, arrays by name.

Classification: `target` int64 (), `labels` int64 (k,) from the likeliest on, `scores` float32
(k,). Segmentation: `areas` int64 (4, C), pixels of intersection, union, prediction and label of
each class, and `map`, the predicted labels as a PNG file, uint8 (n,). Detection: `boxes` float32
(n, 4) as x1 y1 x2 y2, `scores` float32 (n,), `labels` int64 (n,), and the targets: `target_boxes`,
`target_labels`, `target_ignored` bool.
"""


@dataclass(frozen=True)
class Scores:
    """Scores of one run over a data set; fractions, NaN where undefined.

    Attributes:
        measures: metrics by name as functions of how often each image counts; the main one
            first.
        images: N, how many.
        class_metric: name of what `class_values` holds.
        class_values: float64 (C,), per class; NaN for classes the data set does not hold.
    """

    measures: Mapping[str, Measure]
    images: int
    class_metric: str
    class_values: NDArray[np.float64]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Values of the metrics, each image counted once."""
        once = np.ones((1, self.images), np.int64)
        return {name: float(measure(once)[0]) for name, measure in self.measures.items()}


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without NaN; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(-1)
    return ratio(total, defined.sum(-1))


def mean_share(part: NDArray[Any], whole: NDArray[Any]) -> Measure:
    """The mean over columns of summed part over summed whole; both (N, columns)."""

    def measure(counts: NDArray[Any]) -> NDArray[np.float64]:
        weights = counts.astype(np.float64)
        return mean_of_defined(ratio(weights @ part, weights @ whole))

    return measure


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, NaN where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
