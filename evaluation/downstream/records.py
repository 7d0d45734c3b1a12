"""Per-image predictions, stored as atomically written .npz shards."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_world_size

from evaluation.metrics.base import Record
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError

_SHARD = 64
_LONGEST_SECONDS = 30.0


class RecordStore:
    """The records of one model under one condition.

    Several processes may write into one folder, each its own images.

    Args:
        folder: created if missing.
        provenance: stored with every record that is added here; of JSON's types.

    Raises:
        ValueError: a file in the folder is damaged.
    """

    def __init__(self, folder: Path, provenance: Mapping[str, Any] | None = None):
        self.folder = folder
        self._provenance = dict(provenance or {})
        folder.mkdir(parents=True, exist_ok=True)
        self._pending: dict[int, Record] = {}
        self._since = time.monotonic()
        self.refresh()

    @property
    def done(self) -> set[int]:
        """Indices of the images whose records are on disk."""
        return set(self._where)

    @property
    def images_per_second(self) -> float | None:
        """Over all shards, all processes of a run together; None before the first shard."""
        images, seconds = self._speed
        return images / seconds if seconds > 0 else None

    def refresh(self) -> None:
        """Find the shards on disk, those of other processes too."""
        self._where: dict[int, Path] = {}
        self._origins: dict[Path, dict[str, Any]] = {}
        self._speed = [0, 0.0]
        for path in sorted(self.folder.glob("*.npz")):
            with _open(path) as shard:
                indices = shard["indices"].tolist()
                self._speed[0] += len(indices)
                self._speed[1] += float(shard["seconds"])
                self._origins[path] = json.loads(str(shard["provenance"]))
            self._where.update(dict.fromkeys(indices, path))

    def add(self, index: int, record: Record) -> None:
        """Add a record; pending ones are written after `_SHARD` records or `_LONGEST_SECONDS`."""
        self._pending[index] = dict(record)
        if len(self._pending) >= _SHARD or time.monotonic() - self._since > _LONGEST_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the pending records."""
        now = time.monotonic()
        if self._pending:
            indices = sorted(self._pending)
            arrays: dict[str, Any] = {
                f"{index}.{name}": values
                for index in indices
                for name, values in self._pending[index].items()
            }
            date = datetime.now(timezone.utc).isoformat(timespec="seconds")
            origin = {**self._provenance, "date": date}
            arrays |= {
                "indices": indices,
                "seconds": (now - self._since) / get_world_size(),  # processes work in parallel
                "provenance": json.dumps(origin, sort_keys=True),
            }
            path = self.folder / f"{indices[0]:08}-{len(indices)}.npz"
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)
            self._where.update(dict.fromkeys(indices, path))
            self._origins[path] = origin
            self._pending = {}
        self._since = now

    def start(self) -> None:
        """Start the clock, before the first image."""
        self._since = time.monotonic()

    def origins(self, indices: Iterable[int]) -> list[dict[str, Any]]:
        """The provenance of each image's record, with its `date`."""
        return [dict(self._origins[self._where[index]]) for index in indices]

    def load(self, indices: list[int], without: Collection[str] = ()) -> list[Record]:
        """The records of these images, in this order, `without` some of their values.

        Raises:
            ValueError: one is missing, or a file is damaged.
        """
        missing = [index for index in indices if index not in self._where]
        if missing:
            raise UserError(f"{self.folder} has no record of {len(missing)} images: run it again")
        found: dict[int, dict[str, Any]] = {index: {} for index in indices}
        for path in sorted({self._where[index] for index in indices}):
            with _open(path) as shard:
                for key in shard.files:
                    number, _, name = key.partition(".")
                    if name in without:
                        continue
                    if name and self._where.get(int(number)) == path and int(number) in found:
                        found[int(number)][name] = shard[key]
        return [found[index] for index in indices]


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    # some damage shows only when arrays are read
    try:
        with np.load(path, allow_pickle=False) as shard:
            yield shard
    except Exception as error:  # damaged files fail in any way in NumPy and zipfile
        raise UserError(f"{path} is damaged ({error}); remove it and run again") from error
