"""What all data set folders need: an error of their own, and lists of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from jorder_preproc.errors import UserError


class LayoutError(UserError):
    """A data set folder that is not laid out as expected; the message says what to do."""


def check_folder(folder: Path, what: str) -> None:
    """Complain if it is not there.

    Raises:
        LayoutError: no such folder; `what` says what it should hold.
    """
    if not folder.is_dir():
        raise LayoutError(f"no folder {folder}; it should hold {what}")


def list_folders(folder: Path) -> list[Path]:
    """Folders right in `folder`, sorted by name, without hidden ones."""
    folders = (path for path in folder.iterdir() if path.is_dir())
    return sorted(path for path in folders if not path.name.startswith("."))


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without those that are blank.

    Raises:
        LayoutError: no such file, no text, or nothing in it.
    """
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
    """The first names in words, and how many more there are."""
    names = sorted(names)
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def check_unique(names: Iterable[str], where: Path | str) -> None:
    """Complain about what stands there twice.

    Raises:
        LayoutError: something does.
    """
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise LayoutError(f"{where} has {some(twice)} more than once; remove the duplicates")
