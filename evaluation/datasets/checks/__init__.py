"""Looks for what would spoil an evaluation, before an hour is spent on it."""

from __future__ import annotations

from pathlib import Path

from evaluation.datasets.checks.classification import examine_classification
from evaluation.datasets.checks.detection import examine_detection
from evaluation.datasets.checks.findings import Finding, Opener, Track
from evaluation.datasets.checks.segmentation import examine_segmentation
from evaluation.datasets.layouts import (
    LayoutError,
    ade20k,
    find_ade20k,
    find_voc,
    list_imagenet,
    read_class_list,
    voc,
)
from evaluation.downstream.published_scores import SET_SIZES
from jorder_preproc.errors import UserError

__all__ = ["Finding", "examine"]


def examine(
    task: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    classes: str | Path | None = None,
    outputs: int | None = None,
    thorough: bool = False,
    track: Track | None = None,
) -> list[Finding]:
    """Check the folder of a data set.

    Layout, number of images, order of the classes, zero label, annotations, and whether the
    pictures can be read. Without its layout nothing else is looked at.

    Args:
        task: `classification`, `segmentation` or `detection`.
        root: the folder, as `evaluation.datasets.layouts` takes it.
        labels, outputs: as `evaluation.datasets.layouts.list_imagenet`; classification only.
        classes: file with one class per line; those of ImageNet, ADE20K or VOC if None.
        thorough: open all files, not a hundred of each kind. Annotations of VOC are always
            all opened.
        track: shows progress.

    Raises:
        ValueError: unknown task.
    """
    if task not in SET_SIZES:
        raise UserError(f"unknown task {task!r}; choose from {list(SET_SIZES)}")
    opener = Opener(thorough, track or (lambda items, _: items))
    try:
        if task == "classification":
            images = list_imagenet(root, labels, classes, outputs)
            return [*examine_classification(images, opener)]
        names = None if classes is None else read_class_list(Path(classes)).classes
        if task == "segmentation":
            count = ade20k.CLASSES if names is None else len(names)
            return [*examine_segmentation(find_ade20k(root), count, opener)]
        return [*examine_detection(find_voc(root), names or voc.CLASSES, opener)]
    except LayoutError as error:
        return [Finding("error", "layout", str(error))]
