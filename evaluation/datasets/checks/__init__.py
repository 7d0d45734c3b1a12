"""Checks of a data set, before a long evaluation."""

from __future__ import annotations

from pathlib import Path

from evaluation.datasets.checks.classification import examine_classification
from evaluation.datasets.checks.detection import examine_detection
from evaluation.datasets.checks.findings import Finding
from evaluation.datasets.checks.segmentation import examine_segmentation
from evaluation.datasets.layouts import ade20k, voc
from evaluation.datasets.layouts.base import SET_SIZES, LayoutError
from evaluation.datasets.layouts.classes import read_class_list
from evaluation.datasets.layouts.imagenet import list_imagenet
from jorder_preproc.errors import UserError


def examine(
    task: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    classes: str | Path | None = None,
    outputs: int | None = None,
    thorough: bool = False,
) -> list[Finding]:
    """Check the folder of a data set.

    Layout, number of images, order of the classes, zero label, annotations, and whether images
    can be read. A wrong layout is the only finding.

    Args:
        task: `classification`, `segmentation` or `detection`.
        root: the folder; see `evaluation.datasets.layouts`.
        labels, outputs: see `list_imagenet`; classification only.
        classes: file with one class per line; those of ImageNet, ADE20K or VOC if None.
        thorough: open all files, not a hundred of each kind. Annotations of VOC are always
            all opened.

    Raises:
        ValueError: unknown task, or labels or outputs for another than classification.
    """
    if task not in SET_SIZES:
        raise UserError(f"unknown task {task!r}; choose from {list(SET_SIZES)}")
    if task != "classification" and (labels, outputs) != (None, None):
        raise UserError(f"--labels and --outputs are for classification, not for {task}")
    try:
        if task == "classification":
            images = list_imagenet(root, labels, classes, outputs)
            return [*examine_classification(images, thorough)]
        names = None if classes is None else read_class_list(Path(classes)).classes
        if task == "segmentation":
            count = ade20k.CLASSES if names is None else len(names)
            return [*examine_segmentation(ade20k.find_ade20k(root), count, thorough)]
        return [*examine_detection(voc.find_voc(root), names or voc.CLASSES, thorough)]
    except LayoutError as error:
        return [Finding("error", "layout", str(error))]
