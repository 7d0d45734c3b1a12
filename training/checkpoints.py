"""Checkpoints of runs that may be killed at any moment."""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from jorder_preproc.atomic import atomic_path


@register_backend("atomic")
class AtomicBackend(LocalBackend):
    """MMEngine's files on disk, each written whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write the bytes of a checkpoint."""
        with atomic_path(filepath) as temporary:
            temporary.write_bytes(obj)


def find_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint from which a run goes on; None where there is none.

    It is the one that MMEngine names in `last_checkpoint`, after each is written. A run killed
    just then leaves that file empty, or the name of a checkpoint that has made room for the
    next: then it is the one of the highest iteration.
    """
    folder = Path(work_dir)
    named = folder / "last_checkpoint"
    if named.is_file() and Path(last := named.read_text().strip()).is_file():
        return last
    found = sorted(folder.glob("iter_*.pth"), key=lambda path: int(path.stem.split("_")[1]))
    return str(found[-1]) if found else None
