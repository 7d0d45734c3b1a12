"""The error, sizes and file lists that all layouts share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from jorder_preproc.errors import UserError

SET_SIZES = {"classification": 50_000, "segmentation": 2_000, "detection": 4_952}
"""Images in ImageNet's validation set, ADE20K's validation set and VOC 2007's test set."""

_SETS = {
    "classification": ("ImageNet validation", 1000),
    "segmentation": ("ADE20K validation", 150),
    "detection": ("VOC 2007 test", 20),
}
"""The name and the number of classes of these sets."""


class LayoutError(UserError):
    """A data set folder that is not laid out as expected; the message says what to do."""


def data_name(task: str, images: int, classes: int, root: str) -> str:
    """The name of the paper's data set for sets of its size, and else that of the folder."""
    name, own_classes = _SETS[task]
    same = (images, classes) == (SET_SIZES[task], own_classes)
    return name if same else Path(root).resolve().name


def check_folder(folder: Path, what: str) -> None:
    """See that a folder exists; `what` says what it should hold."""
    if not folder.is_dir():
        raise LayoutError(f"no folder {folder}; it should hold {what}")


def list_folders(folder: Path) -> list[Path]:
    """Folders directly in `folder`, sorted by name, without hidden ones."""
    folders = (path for path in folder.iterdir() if path.is_dir())
    return sorted(path for path in folders if not path.name.startswith("."))


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without those that are blank; at least one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path} is not a text file ({error})") from error
    except OSError as error:
        raise LayoutError(f"cannot read {path} ({error.strerror})") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise LayoutError(f"{path} is empty")
    return lines


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and the number of others."""
    names = sorted(names)
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def check_unique(names: Iterable[str], where: Path | str) -> None:
    """See that no name occurs twice in `where`."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise LayoutError(f"{where} has {some(twice)} more than once; remove the duplicates")
