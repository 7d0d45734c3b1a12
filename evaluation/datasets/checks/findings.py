"""Findings, and the checks that all tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.datasets.layouts.base import SET_SIZES, some
from evaluation.datasets.subsets import Item, spread
from jorder_preproc.image_files import read_image, read_size

Level = Literal["ok", "warning", "error"]

SAMPLE = 100
"""Files opened of each kind, unless `thorough`."""

_SETS = {
    "classification": "ImageNet's validation set",
    "segmentation": "ADE20K's validation set",
    "detection": "the test set of VOC 2007",
}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        level: `ok`; `warning`: the scores mean something else; `error`: no scores, or wrong ones.
        what: name of the check.
        detail: what was found and, unless it is fine, what to do.
    """

    level: Level
    what: str
    detail: str


def pick(items: Sequence[Item], thorough: bool) -> list[Item]:
    """The files to open: all, or a sample spread evenly."""
    return spread(items, None if thorough else SAMPLE)


def check_images(paths: Sequence[Path], thorough: bool) -> Finding:
    """Whether images can be read."""
    picked, failed = pick(paths, thorough), []
    for path in picked:
        try:
            read_image(path)
        except (ValueError, OSError) as error:
            failed.append(f"{path.name} ({error})")
    opened = share(len(picked), len(paths))
    if failed:
        detail = f"{len(failed)} of {opened} cannot be read: {some(failed)}"
        return Finding("error", "readable images", detail)
    return Finding("ok", "readable images", f"{opened} opened, none damaged")


def share(part: int, whole: int) -> str:
    """`all 12`, or `3 of 12`."""
    return f"all {whole:,}" if part == whole else f"{part:,} of {whole:,}"


def count_images(task: str, images: int) -> Finding:
    """Whether the set of a task is complete."""
    whole = SET_SIZES[task]
    if images == whole:
        return Finding("ok", "images", f"{images:,}, all of {_SETS[task]}")
    kind = "a part" if images < whole else "more than all"
    return Finding(
        "warning",
        "images",
        f"{images:,} images, {_SETS[task]} has {whole:,}: if this is {kind} of that, the scores "
        "cannot be compared with published ones, and the clean row is not checked against them",
    )


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright image, px; None if it cannot be read."""
    try:
        return read_size(path)
    except (OSError, ValueError):
        return None
