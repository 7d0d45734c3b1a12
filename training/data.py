"""Reading photographs, samplers of endless training data, and the validation data set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from mmengine.runner import Runner
from torch.utils.data import Dataset, Sampler

from jorder_preproc.errors import UserError
from jorder_preproc.image_files import SUFFIXES, list_images, read_rgb
from jorder_preproc.images import float_to_pixels
from jorder_preproc.rain import PRESETS, image_name, synthesize_rain

DRAWS_PER_SEED = 2**32
"""Draw numbers reserved for each seed; see `DrawSampler`."""


def list_photos(folders: str | Path | Sequence[str], limit: int | None = None) -> list[Path]:
    """Paths of the images under a folder, sorted, or under each of several; the first `limit`.

    Raises:
        UserError: a folder without images, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the number of photographs must be at least 1, got {limit}")
    photos: list[Path] = []
    for folder in [folders] if isinstance(folders, str | Path) else folders:
        found = list_images(Path(folder), recursive=True)
        if not found:
            raise UserError(f"no images ({', '.join(sorted(SUFFIXES))}) under {folder}")
        photos += found
    return photos[:limit]


def read_photo(path: Path) -> np.ndarray:
    """Pixels of an image file, upright, uint8 RGB (H, W, 3).

    Raises:
        UserError: the file cannot be read.
    """
    pixels: np.ndarray = float_to_pixels(read_rgb(path), torch.uint8).permute(1, 2, 0).numpy()
    return pixels


def end_workers(runner: Runner) -> None:
    """End the processes that load training data, after training.

    Python's garbage collector would do so later, and wait five seconds for each: it takes away
    the queue by which they are told to end before it tells them.
    """
    runner.train_loop.dataloader_iterator = None


def random_window(
    shape: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator
) -> tuple[slice, slice]:
    """Rows and columns of a random window of that height and width in (H, W, ...)."""
    top, left = (
        int(rng.integers(have - want + 1)) for have, want in zip(shape[:2], size, strict=True)
    )
    return slice(top, top + size[0]), slice(left, left + size[1])


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[Any]):
    """Endless draw numbers for `VeiledPhotos`.

    They start at `seed * DRAWS_PER_SEED`; of W processes, process r takes every W-th from the
    r-th on. No number occurs twice, within a run or across seeds, and a run resumed with as
    many processes continues with the next number.

    Args:
        dataset: unused; MMEngine passes it.
        seed: of the run, >= 0; MMEngine passes it.
    """

    def __init__(self, dataset: Dataset | None = None, seed: int | None = None):
        self.rank, self.processes = get_dist_info()
        self.seed = seed or 0
        self.skipped = 0

    def __iter__(self) -> Iterator[Any]:
        first = self.seed * DRAWS_PER_SEED + self.rank
        return itertools.count(first + self.skipped * self.processes, self.processes)

    def __len__(self) -> int:
        return DRAWS_PER_SEED

    def skip(self, count: int) -> None:
        """Skip `count` draws of this process; MMEngine calls it on resuming."""
        self.skipped = count


@DATA_SAMPLERS.register_module()
class IterationSampler(DrawSampler):
    """Endless items (seed, rank, iteration) for `RainPatches`; arguments as of `DrawSampler`."""

    def __iter__(self) -> Iterator[Any]:
        iterations = itertools.count(self.skipped)
        return ((self.seed, self.rank, iteration) for iteration in iterations)


@DATASETS.register_module()
class RainyPhotos(Dataset):
    """Whole photographs with the rain of each preset, held in memory.

    Args:
        photos: folder of clean photographs.
        presets: names from `jorder_preproc.rain.PRESETS`; `clean` for no rain.
        seed: of the rain; the image id is the path below the folder.
    """

    def __init__(self, photos: str, presets: Sequence[str], seed: int = 0):
        unknown = set(presets) - set(PRESETS) - {"clean"}
        if unknown:
            raise UserError(
                f"unknown presets {sorted(unknown)}; choose from clean, {list(PRESETS)}"
            )
        self.items: list[dict[str, Any]] = []
        for path in list_photos(photos):
            background, name = read_rgb(path), image_name(path, photos)
            for preset in presets:
                rainy = background
                if preset != "clean":
                    rainy = synthesize_rain(background, preset, seed, name).rainy
                    rainy = (rainy * 255).round() / 255  # 8 bits, as in an image file
                self.items.append({"rainy": rainy, "background": background, "preset": preset})

    def __getitem__(self, index: int) -> dict[str, Any]:
        """rainy and background, float (3, H, W); preset, its name."""
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)
