"""Checks of a classification set: counts, and the order of the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from evaluation.datasets.checks.findings import Finding, Level, check_images, count_images
from evaluation.datasets.layouts.base import SET_SIZES
from evaluation.datasets.layouts.classes import WNID
from evaluation.datasets.layouts.imagenet import ImageList

_IMAGENET_CLASSES = 1000
_FIRST, _LAST = "n01440764", "n15075141"


def examine_classification(images: ImageList, thorough: bool) -> Iterator[Finding]:
    """Number of images, order of the classes, images per class, damaged images."""
    yield Finding(
        "ok",
        "layout",
        f"{images.layout}: {len(images.class_list.classes):,} classes in {images.root}",
    )
    yield count_images("classification", len(images.paths))
    yield _class_order(images.class_list.classes)
    yield _class_sizes(images)
    yield check_images([images.root / path for path in images.paths], thorough)


def _class_order(classes: Sequence[str]) -> Finding:
    if not all(WNID.fullmatch(name) for name in classes):
        level: Level = "warning"
        detail = (
            f"the classes are not wnids but {', '.join(classes[:3])}, ...: only you can tell "
            "whether they are in the order of the model's outputs"
        )
    elif len(classes) != _IMAGENET_CLASSES:
        level = "warning"
        detail = (
            f"{len(classes)} classes are numbered from 0; a model of ImageNet's 1,000 numbers them "
            "otherwise: pass a file with all classes in the order of its outputs (--classes)"
        )
    elif list(classes) != sorted(classes):
        level = "error"
        detail = (
            f"index 0 is {classes[0]} and the wnids are not sorted, as those of the development "
            "kit are not; models of timm and torchvision have them sorted, n01440764 (tench) first"
        )
    elif (classes[0], classes[-1]) != (_FIRST, _LAST):
        level = "error"
        detail = (
            f"1,000 sorted wnids from {classes[0]} to {classes[-1]}; those of ILSVRC 2012 go from "
            f"{_FIRST} (tench) to {_LAST} (toilet tissue): some are not its classes"
        )
    else:
        level, detail = "ok", "1,000 sorted wnids, index 0 is n01440764 (tench)"
    return Finding(level, "order of classes", detail)


def _class_sizes(images: ImageList) -> Finding:
    sizes = Counter(images.targets)
    low, high = min(sizes.values()), max(sizes.values())
    each = str(low) if low == high else f"{low} to {high}"
    detail = f"{each} images of each of {len(sizes):,} classes"
    missing = len(images.class_list.classes) - len(sizes)
    level: Level = "ok"
    if missing:
        level = "warning"
        detail += f", none of the other {missing:,}: those have no score of their own"
    elif len(images.paths) == SET_SIZES["classification"] and low != high:
        level = "error"
        detail += (
            "; the validation set has 50 of each: images lie in wrong folders, or the map is of "
            "another set"
        )
    return Finding(level, "images per class", detail)
