"""Images per second of a DataLoader whose workers derain."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from evaluation.speed.derainers import Derainer, rainy_photographs
from evaluation.speed.processes import transform_options
from jorder_preproc import JorderDerain

_IMAGES = 16  # that a loader gives in one repeat


@dataclass
class WorkerRates:
    """One derainer in a DataLoader.

    Attributes:
        derainer: of every image, where it is loaded.
        workers: processes; 0 derains in the main process.
        rates: images per second, of each repeat.
        private_bytes: memory that a worker shares with no other process, the largest; None
            where it was not measured.
    """

    derainer: Derainer
    workers: int
    rates: list[float] = field(default_factory=list)
    private_bytes: int | None = None


def measure_workers(
    derainers: Sequence[Derainer],
    workers: Sequence[int],
    size: tuple[int, int],
    *,
    repeats: int = 5,
    advance: Callable[[], object] = lambda: None,
) -> list[WorkerRates]:
    """Time DataLoaders over rainy photographs; each repeat goes round all of them.

    Workers stay alive from the warm-up on; between two turns they wait.

    Args:
        derainers: what to time.
        workers: numbers of processes.
        size: width and height of the images, px.
        repeats: of each derainer with each number of workers.
        advance: called for each repeat of each.
    """
    photographs = rainy_photographs(size, _IMAGES)
    rows, loaders = [], []
    for derainer in derainers:
        for count in workers:
            others = set(multiprocessing.active_children())
            loader: DataLoader[Any] = DataLoader(
                photographs,  # type: ignore[arg-type]  # a sequence of images
                batch_size=None,
                collate_fn=JorderDerain(**transform_options(derainer)),
                num_workers=count,
                persistent_workers=count > 0,
            )
            _exhaust(loader)
            own = set(multiprocessing.active_children()) - others
            rows.append(WorkerRates(derainer, count))
            loaders.append((loader, [process.pid for process in own]))
    for _ in range(repeats):
        for row, (loader, _) in zip(rows, loaders, strict=True):
            row.rates.append(_IMAGES / _exhaust(loader))
            advance()
    for row, (_, processes) in zip(rows, loaders, strict=True):
        found = [_private_bytes(pid) for pid in processes]
        row.private_bytes = max(filter(None, found), default=None)
    return rows


def _exhaust(loader: DataLoader[Any]) -> float:
    """Seconds in which the loader gives all images."""
    start = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start


def _private_bytes(pid: int | None) -> int | None:
    file = Path(f"/proc/{pid}/smaps_rollup")
    if not file.is_file():
        return None
    sizes = re.findall(r"^Private_\w+:\s*(\d+) kB", file.read_text(encoding="ascii"), re.MULTILINE)
    return 1024 * sum(map(int, sizes))
