"""Write files atomically."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` if the block raises no error.

    After an error or an interrupt the temporary file is removed, and `path` is unchanged.
    """
    path = Path(path)
    # short: file names are limited to 255 bytes
    temporary = path.with_name(f".jorder-{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
