"""`python -m reliability soak`: memory and file descriptors stay flat over many images."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from mmengine.dataset import Compose
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from jorder_preproc import JorderDerain
from jorder_preproc.commands import stderr, stdout
from jorder_preproc.openmmlab.hook import DerainHook
from jorder_preproc.progress import progress_bar

LARGEST_GROWTH = 0.02
"""Of the resident memory of each process behind the warm-up."""

_WARM_UP = 0.25
_COMPARED = 0.15
"""Shares of the run: the samples right behind the warm-up are compared with the last ones."""

_BATCH = 4
_WORKERS = 2

Advance = Callable[[], None]


@dataclass
class Usage:
    """Samples of one process over a run.

    Attributes:
        memory: resident, bytes.
        descriptors: open file descriptors.
    """

    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Of the memory, from behind the warm-up to the end, as a share."""
        first, last = _ends(self.memory)
        return median(last) / median(first) - 1

    @property
    def descriptors_at_least(self) -> tuple[int, int]:
        """Behind the warm-up, and at the end; tensors between two processes have some as well."""
        first, last = _ends(self.descriptors)
        return min(first), min(last)


def _ends(samples: list[int]) -> tuple[list[int], list[int]]:
    start, length = (max(1, round(share * len(samples))) for share in (_WARM_UP, _COMPARED))
    return samples[start : start + length], samples[-length:]


class Watch(Hook):
    """Samples this process and its workers; processes are told apart by their order."""

    def __init__(self, advance: Advance):
        self.usage: dict[str, Usage] = {}
        self._advance = advance

    def after_test_iter(self, *_: Any, **__: Any) -> None:
        """One batch more, in a Runner or, without arguments, elsewhere."""
        self._advance()
        workers = sorted(process.pid or 0 for process in multiprocessing.active_children())
        for number, pid in enumerate([os.getpid(), *workers]):
            usage = self.usage.setdefault(f"worker {number}" if number else "main", Usage())
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            usage.memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
            usage.descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))


class _Images(Dataset[Any]):
    """Images of changing size, uint8 RGB (H, W, 3), through a pipeline."""

    def __init__(self, count: int, pipeline: Callable[[Any], Any]):
        self.count, self.pipeline = count, pipeline

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        rng = np.random.default_rng(index)
        shape = (*rng.integers(24, 56, 2), 3)
        return self.pipeline({"img": rng.integers(0, 256, shape, np.uint8)})


class LoadMadeImage:
    """Stands for the loader of a pipeline, behind which the hook puts the derainer."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        return results


class _Pack:
    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        return {"inputs": torch.from_numpy(results["img"]).permute(2, 0, 1)}


class _Model(BaseModel):
    """The mean of each image of a batch."""

    def forward(self, inputs: Any, mode: str = "tensor") -> Any:
        return [image.float().mean() for image in inputs]


class _NoMetric(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        pass

    def compute_metrics(self, results: Any) -> dict[str, float]:
        return {}


def _transform(count: int, watch: Watch) -> None:
    """`JorderDerain` of torchvision in the workers."""
    derain = JorderDerain()
    images = _Images(count, lambda results: derain(results["img"]))
    for _ in DataLoader(images, _BATCH, num_workers=_WORKERS, collate_fn=list):
        watch.after_test_iter()


def _hook(where: str, count: int, watch: Watch) -> None:
    """`DerainHook` in a Runner."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=_Model(),
            work_dir=folder,
            test_dataloader=dict(
                dataset=_Images(count, Compose([LoadMadeImage(), _Pack()])),
                sampler=dict(type="DefaultSampler", shuffle=False),
                collate_fn=dict(type="pseudo_collate"),
                batch_size=_BATCH,
                num_workers=_WORKERS,
            ),
            test_cfg=dict(),
            test_evaluator=[_NoMetric()],
            custom_hooks=[DerainHook(where=where), watch],  # type: ignore[arg-type]
            log_level="ERROR",
        )
        runner.test()


WAYS: dict[str, Callable[[int, Watch], None]] = {
    "transform, DataLoader": _transform,
    "hook, pipeline": lambda count, watch: _hook("pipeline", count, watch),
    "hook, batch": lambda count, watch: _hook("batch", count, watch),
}

app = typer.Typer()


@app.command()
def soak(
    images: Annotated[int, typer.Option(min=400, help="Through each of the three ways.")] = 20_000,
) -> None:
    """Derain many small images in a DataLoader with two workers and through the hook.

    Prints memory and file descriptors of every process, and exits with status 1 if the memory
    of one grows by 2 % or more behind the warm-up, or the number of its descriptors grows.
    """
    table = Table("way", "process", "MB", "growth, %", "files", "at the end", "")
    failed = False
    with progress_bar(stderr) as progress:
        for way in WAYS:
            bar = progress.add_task(way, total=images // _BATCH)
            usages = run(way, images, lambda bar=bar: progress.advance(bar))  # type: ignore[misc]
            for process, usage in usages.items():
                before, after = usage.descriptors_at_least
                grows = usage.growth >= LARGEST_GROWTH or after > before
                failed |= grows
                table.add_row(
                    way,
                    process,
                    f"{median(usage.memory) / 1e6:.0f}",
                    f"{100 * usage.growth:+.2f}",
                    str(before),
                    str(after),
                    "grows" if grows else "flat",
                )
    stdout.print(table)
    if failed:
        raise typer.Exit(1)


def run(way: str, images: int, advance: Advance = lambda: None) -> dict[str, Usage]:
    """Take one of `WAYS`; the usage of each process."""
    watch = Watch(advance)
    WAYS[way](images, watch)
    return watch.usage
