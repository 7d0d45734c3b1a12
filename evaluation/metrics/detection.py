"""Average precision as VOC 2007 and mmdet's VOCMetric define it, with image weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.base import Record, Scores, mean_of_defined, ratio
from jorder_preproc.errors import UserError

OVERLAP = 0.5

# mmdet's recall levels are sums of 0.1, by which a recall of 3 / 10 does not reach 0.3
_RECALLS = np.arange(0, 1 + 1e-3, 0.1)
_ELEMENTS_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class _Ranking:
    """Detections of one class by score, without those matched to ignored boxes.

    Attributes:
        images: integers (D,), the image of each.
        hits: bool (D,), whether it matches a target box.
        targets: int64 (N,), number of target boxes of each image, without ignored ones.
    """

    images: NDArray[np.intp]
    hits: NDArray[np.bool_]
    targets: NDArray[np.int64]


def score(records: Sequence[Record], classes: int) -> Scores:
    """VOC07 mAP: precision at 11 recalls, IoU of at least 0.5, boxes with both end pixels.

    Within an image and a class, detections in the order of their scores are matched to the
    target box they overlap most; a second match of a box is wrong, and a match of an ignored
    (difficult) box does not count. Equal scores stay in the order of the data set. Matching is
    done once per image; resamples only weight images. A class without target boxes, in the
    data set or in a resample, is left out of the mean.

    Args:
        records: see `Record`.
        classes: C.

    Returns:
        `mAP`; per class `AP`.

    Raises:
        UserError: labels outside [0, C).
    """
    for index, record in enumerate(records):
        labels = np.concatenate([record["labels"], record["target_labels"]])
        if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
            raise UserError(
                f"labels of record {index} must be in [0, {classes}), got {labels.min()} to "
                f"{labels.max()}; the model has other classes than the data set"
            )
    rankings = _rank(records, classes)

    def mean_ap(counts: NDArray[Any]) -> NDArray[np.float64]:
        return mean_of_defined(_average_precisions(rankings, counts))

    once = np.ones((1, len(records)), np.int64)
    class_values = _average_precisions(rankings, once)[0]
    return Scores({"mAP": mean_ap}, len(records), "AP", class_values)


def _rank(records: Sequence[Record], classes: int) -> list[_Ranking]:
    targets = [
        np.bincount(record["target_labels"][~record["target_ignored"]], minlength=classes)
        for record in records
    ]
    outcomes = [_match(record) for record in records]
    images = np.repeat(np.arange(len(records)), [len(outcome) for outcome in outcomes])
    outcome = np.concatenate(outcomes)
    labels, scores = (np.concatenate([r[key] for r in records]) for key in ("labels", "scores"))
    order = np.argsort(-scores, kind="stable")
    order = order[outcome[order] >= 0]
    labels, images, hits = labels[order], images[order], outcome[order] == 1
    return [
        _Ranking(images[labels == label], hits[labels == label], counts)
        for label, counts in enumerate(np.stack(targets, axis=1))
    ]


def _match(record: Record) -> NDArray[np.int8]:
    """For each detection 1 for a hit, 0 for a miss, -1 for one that does not count."""
    outcome = np.zeros(len(record["labels"]), np.int8)
    ignored = record["target_ignored"]
    for label in np.intersect1d(record["labels"], record["target_labels"]):
        found = np.flatnonzero(record["labels"] == label)
        found = found[np.argsort(-record["scores"][found], kind="stable")]
        # the first of equal overlaps is matched; mmdet has ignored boxes last
        true = np.flatnonzero(record["target_labels"] == label)
        true = true[np.argsort(ignored[true], kind="stable")]
        overlaps = _overlaps(record["boxes"][found], record["target_boxes"][true])
        taken: set[int] = set()
        for index in np.flatnonzero(overlaps.max(1) >= OVERLAP):
            match = int(true[overlaps[index].argmax()])
            if ignored[match]:
                outcome[found[index]] = -1
            elif match not in taken:
                taken.add(match)
                outcome[found[index]] = 1
    return outcome


def _overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
    """IoU (n, m) of boxes (n, 4) and (m, 4), whose corner pixels are inside, hence the + 1.

    In float32, as in mmdet, so that overlaps of just 0.5 are decided alike.
    """
    first, second = first.astype(np.float32)[:, None], second.astype(np.float32)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    intersection = np.maximum(sides + 1, 0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(-1) for boxes in (first, second)]
    union = areas[0] + areas[1] - intersection
    return intersection / np.maximum(union, np.float32(1e-6))


def _average_precisions(rankings: Sequence[_Ranking], counts: NDArray[Any]) -> NDArray[np.float64]:
    """AP (R, C) of each class in each resample; NaN without a target box."""
    result = np.empty((len(counts), len(rankings)))
    # bounds the memory of `taken` below
    longest = max(len(ranking.images) for ranking in rankings)
    at_once = max(1, _ELEMENTS_AT_ONCE // max(longest, 1))
    for start in range(0, len(counts), at_once):
        part = slice(start, start + at_once)
        weights = counts[part].astype(np.int32)
        for label, ranking in enumerate(rankings):
            result[part, label] = _average_precision(ranking, weights)
    return result


def _average_precision(ranking: _Ranking, weights: NDArray[np.int32]) -> NDArray[np.float64]:
    """AP (R,) of one class, images weighted by (R, N).

    Between two hits recall stays and precision falls, so that only hits matter.
    """
    total = weights @ ranking.targets
    hits = np.flatnonzero(ranking.hits)
    if not len(hits):
        return ratio(np.zeros(len(weights)), total)
    found = weights[:, ranking.images[hits]].cumsum(1)
    # each hit with the misses before it
    segments = np.concatenate([[0], hits[:-1] + 1])
    taken = np.take(weights, ranking.images[: hits[-1] + 1], axis=1)
    given = np.add.reduceat(taken, segments, axis=1).cumsum(1)
    precision = found / np.maximum(given, 1)
    # the highest precision at this or a higher recall; 0 beyond the highest recall
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    recall = found / np.maximum(total, 1)[:, None]
    rows = np.arange(len(best))
    points = [best[rows, (recall < level).sum(1)] for level in _RECALLS]
    return np.where(total > 0, np.sum(points, axis=0) / len(_RECALLS), np.nan)
