"""Checks of a detection set: classes, sizes, difficult flags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from evaluation.datasets.checks.findings import (
    Finding,
    Level,
    check_images,
    count_images,
    image_size,
    pick,
)
from evaluation.datasets.layouts.base import LayoutError, some
from evaluation.datasets.layouts.voc import Voc, read_annotation


def examine_detection(found: Voc, classes: Sequence[str], thorough: bool) -> Iterator[Finding]:
    """Number of images, annotations, difficult boxes, damaged images."""
    yield Finding(
        "ok", "layout", f"each name in test.txt has an image and an annotation in {found.root}"
    )
    yield count_images("detection", len(found.names))
    faults = []
    sizes = {}
    boxes, difficult = Counter[str](), 0
    for name in found.names:
        try:
            annotation = read_annotation(found.annotation(name), classes)
        except LayoutError as error:
            faults.append(str(error))
            continue
        sizes[name] = annotation.size
        boxes.update(annotation.classes)
        difficult += sum(annotation.difficult)
    for name in pick([name for name, size in sizes.items() if size is not None], thorough):
        if image_size(found.image(name)) not in (None, sizes[name]):
            faults.append(f"{found.image(name)} is not of the size that its annotation says")
    if faults:
        detail = f"{len(faults)} of {len(found.names):,} are wrong: {some(faults, 1)}"
        yield Finding("error", "annotations", detail)
    else:
        yield Finding("ok", "annotations", f"all {len(found.names):,} opened")
    yield _boxes(boxes, classes, difficult)
    yield check_images([found.image(name) for name in found.names], thorough)


def _boxes(boxes: Counter[str], classes: Sequence[str], difficult: int) -> Finding:
    shown = f"{len(boxes)} of {len(classes)} classes"
    detail = f"{boxes.total():,} boxes of {shown}, {difficult:,} difficult"
    missing = [name for name in classes if name not in boxes]
    level: Level = "warning"
    if not boxes:
        level = "error"
        detail += ": there is nothing to score"
    elif missing:
        detail += f"; without a box, left out of the mean: {some(missing)}"
    elif not difficult:
        detail += "; if the flags were lost in a conversion, the scores come out too low"
    else:
        level = "ok"
    return Finding(level, "boxes", detail)
