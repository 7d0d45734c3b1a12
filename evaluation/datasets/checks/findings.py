"""What is found, and the ways of looking that all tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from evaluation.datasets.layouts.base import some
from evaluation.downstream.published_scores import SET_SIZES
from jorder_preproc.image_files import read_image

Level = Literal["ok", "warning", "error"]
Item = TypeVar("Item")
Track = Callable[[Sequence[Item], str], Iterable[Item]]
"""Takes items and what is done with them, gives the items: `rich.progress.track` is one."""

SAMPLE = 100
"""Files opened of each kind, unless all are."""

_SETS = {
    "classification": "ImageNet's validation set",
    "segmentation": "ADE20K's validation set",
    "detection": "the test set of VOC 2007",
}


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        level: `ok`; `warning`: runs, but the numbers mean something else; `error`: does not
            run, or the numbers are wrong.
        what: a few words, the same for all levels.
        detail: what was found and, unless it is fine, what to do.
    """

    level: Level
    what: str
    detail: str


class Opener:
    """Opens all files of a kind or some of them, spread evenly."""

    def __init__(self, thorough: bool, track: Track):
        self.thorough = thorough
        self.track = track

    def pick(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those to open."""
        if self.thorough or len(items) <= SAMPLE:
            return items
        return [items[len(items) * k // SAMPLE] for k in range(SAMPLE)]

    def pictures(self, paths: Sequence[Path]) -> Finding:
        """Whether pictures can be read."""
        picked = self.pick(paths)
        failed = []
        for path in self.track(picked, "Reading pictures"):
            try:
                read_image(path)
            except (ValueError, OSError) as error:
                failed.append(f"{path.name} ({error})")
        opened = share(len(picked), len(paths))
        if failed:
            detail = f"{len(failed)} of {opened} cannot be read: {some(failed)}"
            return Finding("error", "pictures", detail)
        return Finding("ok", "pictures", f"{opened} opened, none damaged")


def share(part: int, whole: int) -> str:
    """How many of how many, in words."""
    return f"all {whole:,}" if part == whole else f"{part:,} of {whole:,}"


def count_images(task: str, images: int) -> Finding:
    """Whether the set of a task is whole."""
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


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture, px; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError):
        return None
