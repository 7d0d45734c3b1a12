"""Data set folders: what is where, and an error that says what is missing."""

from pathlib import Path

from evaluation.datasets.layouts.ade20k import Ade20k, find_ade20k
from evaluation.datasets.layouts.base import LayoutError
from evaluation.datasets.layouts.classes import ClassList, read_class_list
from evaluation.datasets.layouts.imagenet import ImageList, list_imagenet
from evaluation.datasets.layouts.pairs import Pair, PairList, find_pairs
from evaluation.datasets.layouts.voc import Voc, find_voc
from jorder_preproc.errors import UserError

_FINDERS = {"classification": list_imagenet, "segmentation": find_ade20k, "detection": find_voc}


def find_layout(task: str, root: str | Path) -> ImageList | Ade20k | Voc:
    """Find the pictures of a task and their labels, by names; files are not opened.

    Raises:
        LayoutError: not laid out as expected.
        ValueError: unknown task.
    """
    if task not in _FINDERS:
        raise UserError(f"unknown task {task!r}; choose from {list(_FINDERS)}")
    found: ImageList | Ade20k | Voc = _FINDERS[task](root)  # type: ignore[operator]
    return found


__all__ = [
    "Ade20k",
    "ClassList",
    "ImageList",
    "LayoutError",
    "Pair",
    "PairList",
    "Voc",
    "find_ade20k",
    "find_layout",
    "find_pairs",
    "find_voc",
    "list_imagenet",
    "read_class_list",
]
