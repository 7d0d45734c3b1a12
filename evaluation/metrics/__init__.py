"""Metrics from records, one module per task."""

from collections.abc import Callable, Sequence

from evaluation.metrics import classification, detection, segmentation
from evaluation.metrics.base import Record, Scores

SCORE: dict[str, Callable[[Sequence[Record], int], Scores]] = {
    "classification": classification.score,
    "segmentation": segmentation.score,
    "detection": detection.score,
}
"""By task: scores from the records of one condition, in data set order, and the number of
classes."""
