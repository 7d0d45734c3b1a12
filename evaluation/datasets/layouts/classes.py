"""Lists of classes in the order of a model's outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from evaluation.datasets.layouts.base import LayoutError, check_unique, read_lines, some

WNID = re.compile(r"n\d{8}")
"""WordNet ids, the names of ImageNet's classes."""


@dataclass(frozen=True)
class ClassList:
    """All classes of a model, in the order of its outputs.

    Attributes:
        classes: as in folders and maps.
        names: for people; `classes` where nothing else is known.
        source: where they come from, for messages.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    source: str = field(compare=False)

    def index(self, name: str, where: str) -> int:
        """Number of a class that is named in `where`."""
        number = self._numbers.get(name)
        if number is None:
            raise LayoutError(
                f"{where} names class {name!r}, which is not among the {len(self.classes)} of "
                f"{self.source}; no output of the model stands for it"
            )
        return number

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.classes)}


def read_class_list(path: Path) -> ClassList:
    """Read a file with one class per line: `wnid` or `name`, and an optional description."""
    parts = [re.split(r"[\s,]+", line, maxsplit=1) for line in read_lines(path)]
    classes = tuple(part[0] for part in parts)
    check_unique(classes, path)
    names = tuple(part[1] if len(part) > 1 and part[1] else part[0] for part in parts)
    return ClassList(classes, names, str(path))


def sorted_classes(names: list[str], source: Path) -> ClassList:
    """Classes in sorted order, as torchvision and timm number the folders of ImageNet."""
    classes = tuple(sorted(set(names)))
    if all(name.isdecimal() for name in classes) and classes != tuple(sorted(classes, key=int)):
        raise LayoutError(
            f"the classes of {source} are numbers, whose alphabetical order is "
            f"{', '.join(classes[:4])}, ...; pass a file with all classes in the order of the "
            "model's outputs (--classes)"
        )
    return ClassList(classes, classes, str(source))


def check_outputs(classes: ClassList, outputs: int | None) -> None:
    """See that a model has as many outputs as there are classes; None is any number."""
    count = len(classes.classes)
    if outputs is None or count == outputs:
        return
    if count < outputs:
        advice = (
            f"pass a file that names all {outputs} in the order of the model's outputs "
            "(--classes), so that each keeps its number"
        )
    else:
        advice = (
            f"no output stands for {count - outputs} of them. Are {some(classes.classes)} what the "
            "model was trained on?"
        )
    raise LayoutError(
        f"{classes.source} has {count} classes, the model {outputs} outputs; {advice}"
    )
