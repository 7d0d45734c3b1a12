"""What the scores of all three tasks look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.statistics import Measure

Record = Mapping[str, NDArray[Any]]
"""What a model said of one image, and the truth; keys and shapes depend on the task."""


@dataclass(frozen=True)
class Scores:
    """What one run over a data set scores; all values are fractions, NaN where undefined.

    Attributes:
        measures: metrics by name as functions of how often each image counts; the main one
            first.
        metrics: their values, each image counted once.
        class_metric: name of what `class_values` holds.
        class_values: float64 (C,), per class; NaN for classes the data set does not hold.
    """

    measures: Mapping[str, Measure]
    metrics: Mapping[str, float]
    class_metric: str
    class_values: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        measures: Mapping[str, Measure],
        images: int,
        class_metric: str,
        class_values: NDArray[np.float64],
    ) -> Scores:
        """Scores whose metrics are the measures of each image once."""
        once = np.ones((1, images), np.int64)
        metrics = {name: float(measure(once)[0]) for name, measure in measures.items()}
        return cls(measures, metrics, class_metric, class_values)


def check_records(records: Sequence[Record], task: str, keys: Sequence[str]) -> None:
    """Complain about records that are not there, or of another task.

    Raises:
        ValueError: no records, or one without these keys.
    """
    if not records:
        raise ValueError(f"no records of {task}: nothing to score; run the condition first")
    for index, record in enumerate(records):
        missing = [key for key in keys if key not in record]
        if missing:
            raise ValueError(
                f"record {index} has no {', '.join(missing)}, which {task} needs; it has "
                f"{', '.join(record)}: was it saved by another task?"
            )


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without NaN; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(-1)
    return ratio(total, defined.sum(-1))


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, NaN where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
