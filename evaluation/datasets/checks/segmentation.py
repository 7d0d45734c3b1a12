"""Annotation maps: their sizes, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from evaluation.datasets.checks.findings import (
    Finding,
    Level,
    Opener,
    count_images,
    picture_size,
    share,
)
from evaluation.datasets.layouts import Ade20k, LayoutError
from evaluation.datasets.layouts.ade20k import read_annotation_map
from evaluation.datasets.layouts.base import some

_IGNORED = 255


def examine_segmentation(found: Ade20k, classes: int, opener: Opener) -> Iterator[Finding]:
    """Number of images, sizes of the maps, zero label, damaged pictures."""
    yield Finding("ok", "layout", f"each picture in {found.root} has an annotation map")
    yield count_images("segmentation", len(found.stems))
    picked = opener.pick(found.stems)
    values: set[int] = set()
    unreadable, resized = [], []
    for stem in opener.track(picked, "Reading annotation maps"):
        try:
            labels = read_annotation_map(found.annotation(stem))
        except LayoutError as error:
            unreadable.append(str(error))
            continue
        values.update(np.unique(labels).tolist())
        if picture_size(found.picture(stem)) not in (None, labels.shape[::-1]):
            resized.append(stem)
    opened = share(len(picked), len(found.stems))
    if unreadable:
        yield Finding(
            "error", "annotations", f"{len(unreadable)} of {opened}: {some(unreadable, 1)}"
        )
    elif resized:
        yield Finding(
            "error",
            "annotations",
            f"{len(resized)} of {opened} maps are not of the size of their picture: "
            f"{some(resized)}; use both as they were published",
        )
    else:
        yield Finding("ok", "annotations", f"{opened} maps opened, each as large as its picture")
    if values:
        yield _zero_label(values, classes, len(picked) == len(found.stems))
    yield opener.pictures([found.picture(stem) for stem in found.stems])


def _zero_label(values: set[int], classes: int, all_read: bool) -> Finding:
    """Maps as published have 0 for everything else and 1 ... C for the classes."""
    what = "zero label"
    seen = f"the maps have the values {_ranges(values)}"
    beyond = {value for value in values if value > classes and value != _IGNORED}
    if beyond:
        return Finding(
            "error",
            what,
            f"{seen}; expected 0 for other and 1 to {classes} for the classes. Are they maps of "
            "another data set, or of the full ADE20K?",
        )
    if _IGNORED in values:
        return Finding(
            "error",
            what,
            f"{seen}; {_IGNORED} means that the zero label was taken off before, from 0 for other "
            "to 0 for the first class. With reduce_zero_label=True all classes would be moved once "
            "more: use the maps as they were published",
        )
    if 0 not in values:
        return Finding(
            "warning",
            what,
            f"{seen}, and none has 0, which stands for other; were those pixels given a class?",
        )
    if classes not in values:
        level: Level = "warning" if all_read else "ok"
        advice = (
            "either no picture shows the last class, or the zero label was taken off and 0 is the "
            "first class; then reduce_zero_label=True would drop that and move all others"
            if all_read
            else "as far as that shows, 0 is other; --thorough reads all maps"
        )
        return Finding(level, what, f"{seen}, not {classes}: {advice}")
    return Finding("ok", what, f"{seen}: 0 is other, as reduce_zero_label=True expects")


def _ranges(values: Iterable[int]) -> str:
    """1-3, 5 for 1, 2, 3, 5."""
    runs = groupby(enumerate(sorted(values)), key=lambda pair: pair[1] - pair[0])
    ends = [[value for _, value in run] for _, run in runs]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in ends)
