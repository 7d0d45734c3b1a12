"""Intersection over union and accuracy of pixels, as mmseg's IoUMetric counts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.metrics.base import Record, Scores, mean_share, ratio
from evaluation.metrics.statistics import Measure


def score(records: Sequence[Record], classes: int) -> Scores:
    """mIoU, aAcc and mAcc over the pixels of all images together.

    The IoU of a class is its intersection over its union, summed over the images first; a
    class in neither labels nor predictions has none, and a class without labelled pixels
    has no accuracy. Both are left out of the means.

    Args:
        records: see `Record`.
        classes: C.

    Returns:
        `mIoU`, `aAcc` (share of labelled pixels that are right), `mAcc` (mean over classes
        of that); per class `IoU`.
    """
    # float64 for the matrix product; exact up to 2^53 pixels
    areas = np.stack([record["areas"] for record in records]).astype(np.float64)
    intersection, union, label = areas[:, 0], areas[:, 1], areas[:, 3]
    measures: dict[str, Measure] = {
        "mIoU": mean_share(intersection, union),
        "aAcc": mean_share(intersection.sum(1, keepdims=True), label.sum(1, keepdims=True)),
        "mAcc": mean_share(intersection, label),
    }
    class_values = ratio(intersection.sum(0), union.sum(0))
    return Scores(measures, len(records), "IoU", class_values)
