"""Write a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends without an error.

    The temporary file lies in the same folder, so that the move is one rename; after an
    error or an interrupt it is removed and `path` is what it was before.
    """
    path = Path(path)
    # short, whatever the length of the name: names end at 255 bytes
    temporary = path.with_name(f".jorder-{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
