"""Pictures with a class each: what is in which place, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from evaluation.datasets.checks.findings import Finding, Opener, count_images
from evaluation.datasets.layouts import ImageList
from evaluation.datasets.layouts.classes import WNID
from evaluation.downstream.published_scores import SET_SIZES

_IMAGENET_CLASSES = 1000
_FIRST, _LAST = "n01440764", "n15075141"


def examine_classification(images: ImageList, opener: Opener) -> Iterator[Finding]:
    """Number of images, order of the classes, images per class, damaged pictures."""
    yield Finding(
        "ok", "layout", f"{images.layout}: {len(images.classes):,} classes in {images.root}"
    )
    yield count_images("classification", len(images.paths))
    yield _class_order(images.classes)
    yield _class_sizes(images)
    yield opener.pictures([images.root / path for path in images.paths])


def _class_order(classes: Sequence[str]) -> Finding:
    what = "order of classes"
    if not all(WNID.fullmatch(name) for name in classes):
        return Finding(
            "warning",
            what,
            f"the classes are not wnids but {', '.join(classes[:3])}, ...: only you can tell "
            "whether they are in the order of the model's outputs",
        )
    if len(classes) != _IMAGENET_CLASSES:
        return Finding(
            "warning",
            what,
            f"{len(classes)} classes are numbered from 0; a model of ImageNet's 1,000 numbers them "
            "otherwise: pass a file with all classes in the order of its outputs (--classes)",
        )
    if list(classes) != sorted(classes):
        return Finding(
            "error",
            what,
            f"index 0 is {classes[0]} and the wnids are not sorted, as those of the development "
            "kit are not; models of timm and torchvision have them sorted, n01440764 (tench) first",
        )
    if (classes[0], classes[-1]) != (_FIRST, _LAST):
        return Finding(
            "error",
            what,
            f"1,000 sorted wnids from {classes[0]} to {classes[-1]}; those of ILSVRC 2012 go from "
            f"{_FIRST} (tench) to {_LAST} (toilet tissue): some are not its classes",
        )
    return Finding("ok", what, "1,000 sorted wnids, index 0 is n01440764 (tench)")


def _class_sizes(images: ImageList) -> Finding:
    sizes = Counter(images.targets)
    low, high = min(sizes.values()), max(sizes.values())
    each = str(low) if low == high else f"{low} to {high}"
    detail = f"{each} images of each of {len(sizes):,} classes"
    missing = len(images.classes) - len(sizes)
    if missing:
        return Finding(
            "warning",
            "images per class",
            f"{detail}, none of the other {missing:,}: those have no score of their own",
        )
    if len(images.paths) == SET_SIZES["classification"] and low != high:
        return Finding(
            "error",
            "images per class",
            f"{detail}; the validation set has 50 of each: pictures lie in wrong folders, or the "
            "map is of another set",
        )
    return Finding("ok", "images per class", detail)
