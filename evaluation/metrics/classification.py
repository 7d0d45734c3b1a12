"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.base import Record, Scores, mean_share, ratio

TOP = (1, 5, 10)


def score(records: Sequence[Record], classes: int) -> Scores:
    """Top-1, top-5 and top-10 accuracy, as far as there are more classes than that.

    Args:
        records: see `Record`; k is at least min(10, C).
        classes: C.

    Returns:
        `top-1`, ...; per class top-1.

    Raises:
        ValueError: C < 2.
    """
    if classes < 2:
        raise ValueError(f"accuracy needs at least 2 classes, got {classes}")
    ranks = [k for k in TOP if k < classes]
    targets = np.array([int(record["target"]) for record in records])
    labels = np.stack([record["labels"][: ranks[-1]] for record in records])
    hits = labels == targets[:, None]
    every = np.ones((len(records), 1))
    images = np.bincount(targets, minlength=classes)
    right = np.bincount(targets[hits[:, 0]], minlength=classes)
    return Scores(
        {f"top-{k}": mean_share(hits[:, :k].any(1, keepdims=True), every) for k in ranks},
        len(records),
        "top-1",
        ratio(right, images),
    )


def correct(records: Sequence[Record]) -> NDArray[np.bool_]:
    """Whether the first label of each image is right, bool (N,), for `mcnemar`."""
    return np.array([record["labels"][0] == record["target"] for record in records], bool)
