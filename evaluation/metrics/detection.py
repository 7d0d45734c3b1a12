"""Average precision as VOC 2007 and mmdet's VOCMetric define it, for resampled images too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.base import Record, Scores, check_records, mean_of_defined, ratio
from jorder_preproc.errors import UserError

KEYS = ("boxes", "scores", "labels", "true_boxes", "true_labels", "true_ignored")
OVERLAP = 0.5

# the sums 0.1 + 0.1 + ... that mmdet compares recalls with: 3 of 10 is not yet 0.3 there
_RECALLS = np.arange(0, 1 + 1e-3, 0.1)
_ELEMENTS_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class _Ranking:
    """All detections of one class in the order of their scores, and how many to find.

    Detections matched to ignored boxes are not among them.

    Attributes:
        images: integers (D,), which image each is in.
        hits: bool (D,), whether it finds a true box.
        truths: int64 (N,), true boxes of each image, ignored ones not counted.
    """

    images: NDArray[np.intp]
    hits: NDArray[np.bool_]
    truths: NDArray[np.int64]


def score(records: Sequence[Record], classes: int) -> Scores:
    """VOC07 mAP: precision at 11 recalls, IoU of at least 0.5, boxes with both end pixels.

    Within an image and a class, detections in the order of their scores each take the true
    box they overlap most; a second one on the same box is wrong, and one on an ignored
    (difficult) box is neither right nor wrong. Equal scores stay in the order of the data
    set. Matching does not depend on other images and is done once; resamples only weight
    images. A class without true boxes, in the data set or in a resample, is left out of the
    mean.

    Args:
        records: `boxes` (n, 4) as x1 y1 x2 y2 in px, `scores` (n,), `labels` (n,),
            `true_boxes` (m, 4), `true_labels` (m,), `true_ignored` bool (m,).
        classes: C.

    Returns:
        `mAP`; per class `AP`.

    Raises:
        ValueError: no records, arrays of other shapes, labels outside [0, C).
    """
    check_records(records, "detection", KEYS)
    check_boxes(records, classes)
    rankings = _rank(records, classes)

    def mean_ap(counts: NDArray[Any]) -> NDArray[np.float64]:
        return mean_of_defined(_average_precisions(rankings, counts))

    once = np.ones((1, len(records)), np.int64)
    class_values = _average_precisions(rankings, once)[0]
    return Scores.of({"mAP": mean_ap}, len(records), "AP", class_values)


def check_boxes(records: Sequence[Record], classes: int) -> None:
    """Complain about arrays that do not fit together.

    Raises:
        ValueError: other shapes than `score` takes, or labels outside [0, C).
    """
    for index, record in enumerate(records):
        found, true = len(record["labels"]), len(record["true_labels"])
        shapes = [record[key].shape for key in KEYS]
        expected = [(found, 4), (found,), (found,), (true, 4), (true,), (true,)]
        if shapes != expected:
            raise ValueError(
                f"record {index} needs {', '.join(KEYS)} of shapes {expected}, got {shapes}"
            )
        labels = np.concatenate([record["labels"], record["true_labels"]])
        if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
            raise UserError(
                f"labels of record {index} must be in [0, {classes}), got {labels.min()} to "
                f"{labels.max()}; the model has other classes than the data set"
            )


def _rank(records: Sequence[Record], classes: int) -> list[_Ranking]:
    images: list[list[NDArray[Any]]] = [[] for _ in range(classes)]
    scores: list[list[NDArray[Any]]] = [[] for _ in range(classes)]
    hits: list[list[NDArray[Any]]] = [[] for _ in range(classes)]
    truths = np.zeros((classes, len(records)), np.int64)
    for index, record in enumerate(records):
        counted = record["true_labels"][~record["true_ignored"]]
        truths[:, index] = np.bincount(counted, minlength=classes)
        for label in np.unique(record["labels"]):
            found = record["labels"] == label
            order = np.argsort(-record["scores"][found], kind="stable")
            true = record["true_labels"] == label
            outcome = _match(
                record["boxes"][found][order],
                record["true_boxes"][true],
                record["true_ignored"][true],
            )
            kept = outcome >= 0
            images[label].append(np.full(kept.sum(), index))
            scores[label].append(record["scores"][found][order][kept])
            hits[label].append(outcome[kept] == 1)
    rankings = []
    for label in range(classes):
        if not images[label]:
            nothing = np.empty(0, np.intp)
            rankings.append(_Ranking(nothing, nothing.astype(bool), truths[label]))
            continue
        order = np.argsort(-np.concatenate(scores[label]), kind="stable")
        rankings.append(
            _Ranking(
                np.concatenate(images[label])[order],
                np.concatenate(hits[label])[order],
                truths[label],
            )
        )
    return rankings


def _match(
    boxes: NDArray[Any], true_boxes: NDArray[Any], ignored: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """1 for a hit, 0 for a miss, -1 for a detection that does not count; best score first."""
    outcome = np.zeros(len(boxes), np.int8)
    if not len(true_boxes):
        return outcome
    # of equal overlaps the first counts: mmdet has the ignored boxes last
    order = np.argsort(ignored, kind="stable")
    overlaps = _overlaps(boxes, true_boxes[order])
    best = overlaps.argmax(1)
    taken: set[int] = set()
    for index in np.flatnonzero(overlaps.max(1) >= OVERLAP):
        match = int(best[index])
        if ignored[order[match]]:
            outcome[index] = -1
        elif match not in taken:
            taken.add(match)
            outcome[index] = 1
    return outcome


def _overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
    """IoU (n, m) of boxes (n, 4) and (m, 4) whose corners are pixels inside, hence the + 1.

    In float32, as mmdet does: an overlap of just a half must fall on the same side.
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
    """AP (R, C) of each class in each resample; NaN without a true box."""
    result = np.empty((len(counts), len(rankings)))
    # also bounds `taken` below; small integers, of which more fit into the caches
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

    Between two hits precision only falls while recall stays, so that hits are the only
    places to look at.
    """
    total = weights @ ranking.truths
    hits = np.flatnonzero(ranking.hits)
    if not len(hits):
        return ratio(np.zeros(len(weights)), total)
    found = weights[:, ranking.images[hits]].cumsum(1)
    # of each hit and of the misses since the one before
    segments = np.concatenate([[0], hits[:-1] + 1])
    taken = np.take(weights, ranking.images[: hits[-1] + 1], axis=1)
    given = np.add.reduceat(taken, segments, axis=1).cumsum(1)
    precision = found / np.maximum(given, 1)
    # the best precision at this recall or any higher one; 0 beyond the highest recall
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    recall = found / np.maximum(total, 1)[:, None]
    rows = np.arange(len(best))
    points = [best[rows, (recall < level).sum(1)] for level in _RECALLS]
    return np.where(total > 0, np.sum(points, axis=0) / len(_RECALLS), np.nan)
