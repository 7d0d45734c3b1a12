"""Checks of a segmentation set: sizes of the annotation maps, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from evaluation.datasets.checks.findings import (
    Finding,
    Level,
    check_images,
    count_images,
    image_size,
    pick,
    share,
)
from evaluation.datasets.layouts.ade20k import Ade20k, read_annotation_map
from evaluation.datasets.layouts.base import LayoutError, some

_IGNORED = 255


def examine_segmentation(found: Ade20k, classes: int, thorough: bool) -> Iterator[Finding]:
    """Number of images, sizes of the maps, zero label, damaged images."""
    yield Finding("ok", "layout", f"each image in {found.root} has an annotation map")
    yield count_images("segmentation", len(found.stems))
    picked = pick(found.stems, thorough)
    values: set[int] = set()
    unreadable, resized = [], []
    for stem in picked:
        try:
            labels = read_annotation_map(found.annotation(stem))
        except LayoutError as error:
            unreadable.append(str(error))
            continue
        values.update(np.unique(labels).tolist())
        if image_size(found.image(stem)) not in (None, labels.shape[::-1]):
            resized.append(stem)
    opened = share(len(picked), len(found.stems))
    level: Level = "error"
    if unreadable:
        detail = f"{len(unreadable)} of {opened}: {some(unreadable, 1)}"
    elif resized:
        detail = (
            f"{len(resized)} of {opened} maps are not of the size of their image: "
            f"{some(resized)}; use both as they were published"
        )
    else:
        level, detail = "ok", f"{opened} maps opened, each as large as its image"
    yield Finding(level, "annotations", detail)
    if values:
        yield _zero_label(values, classes, len(picked) == len(found.stems))
    yield check_images([found.image(stem) for stem in found.stems], thorough)


def _zero_label(values: set[int], classes: int, all_read: bool) -> Finding:
    """Maps as published have 0 for everything else and 1 ... C for the classes."""
    level: Level = "error"
    if any(value > classes and value != _IGNORED for value in values):
        detail = (
            f"; expected 0 for other and 1 to {classes} for the classes. Are they maps of "
            "another data set, or of the full ADE20K?"
        )
    elif _IGNORED in values:
        detail = (
            f"; {_IGNORED} means that the zero label was removed before, from 0 for other "
            "to 0 for the first class. With reduce_zero_label=True all classes would be moved once "
            "more: use the maps as they were published"
        )
    elif 0 not in values:
        level = "warning"
        detail = ", and none has 0, which stands for other; were those pixels given a class?"
    elif classes not in values and all_read:
        level = "warning"
        detail = (
            f", not {classes}: either no image shows the last class, or the zero label was removed "
            "and 0 is the first class; then reduce_zero_label=True would drop that and move all "
            "others"
        )
    elif classes not in values:
        level = "ok"
        detail = f", not {classes}: as far as that shows, 0 is other; --thorough reads all maps"
    else:
        level, detail = "ok", ": 0 is other, as reduce_zero_label=True expects"
    return Finding(level, "zero label", f"the maps have the values {_ranges(values)}{detail}")


def _ranges(values: Iterable[int]) -> str:
    """`1-3, 5` for 1, 2, 3, 5."""
    runs = groupby(enumerate(sorted(values)), key=lambda pair: pair[1] - pair[0])
    ends = [[value for _, value in run] for _, run in runs]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in ends)
