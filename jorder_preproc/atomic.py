"""Write files atomically, and remove what killed processes left half written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jorder_preproc.errors import DiskFullError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# short: file names are limited to 255 bytes
_TEMPORARY = re.compile(r"\.jorder-[0-9a-f]{32}\.tmp")
_FULL = (errno.ENOSPC, errno.EDQUOT)

_tidied: set[Path] = set()


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, folder: bool = False) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` if the block raises no error.

    After an error or an interrupt the temporary file is removed, and `path` is unchanged. Where
    the process is killed the temporary file stays; the next process that writes into the folder
    removes it. It tells by a lock, which ends with its process, that nobody writes it any more.
    Without file locks, as on Windows, it stays.

    Args:
        path: where the result goes.
        folder: make a folder in place of a file; `path` must not exist then, or be empty.

    Raises:
        DiskFullError: there is no space left for what the block writes.
    """
    path = Path(path)
    if path.parent not in _tidied:  # once is enough, and a folder may hold a million files
        _tidied.add(path.parent)
        _remove_leftovers(path.parent)
    temporary = path.with_name(f".jorder-{uuid.uuid4().hex}.tmp")
    try:
        if folder:
            temporary.mkdir()
        with _locked(temporary, create=not folder):
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"no space left to write {path}; free some and give the same command again, which "
                "keeps what is finished"
            ) from error
        raise
    finally:
        _remove(temporary)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, in UTF-8 and with the line ends that the text has; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


@contextmanager
def _locked(temporary: Path, create: bool) -> Iterator[None]:
    """Hold a lock on a temporary file or folder; without one where there are no locks."""
    if fcntl is None:
        yield
        return
    while True:
        number = os.open(temporary, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY, 0o666)
        try:
            with suppress(OSError):  # some network file systems have none
                fcntl.flock(number, fcntl.LOCK_EX)
            # another process may have taken the file for a leftover before it was locked
            if _is_at(number, temporary) or not create:
                yield
                return
        finally:
            os.close(number)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders whose processes were killed."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            with suppress(OSError):  # also where its process holds the lock
                number = os.open(entry.path, os.O_RDONLY)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(Path(entry.path))
                finally:
                    os.close(number)


def _is_at(number: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(number), os.stat(path))
    return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
