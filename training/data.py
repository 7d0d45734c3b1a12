"""Photographs to train on, and validation photographs with fixed rain."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler

from jorder_preproc.errors import UserError
from jorder_preproc.image_files import SUFFIXES, list_images, read_rgb
from jorder_preproc.images import float_to_pixels
from jorder_preproc.rain import PRESETS, image_name, synthesize_rain

DRAWS_PER_SEED = 2**32
"""Numbers that a run has for its draws; see `DrawSampler`."""


def list_photos(folders: str | Path | Sequence[str]) -> list[Path]:
    """Pictures under a folder, sorted, or under each of several.

    Raises:
        UserError: none there.
    """
    photos: list[Path] = []
    for folder in [folders] if isinstance(folders, str | Path) else folders:
        found = list_images(Path(folder), recursive=True)
        if not found:
            raise UserError(f"no pictures ({', '.join(sorted(SUFFIXES))}) under {folder}")
        photos += found
    return photos


def read_photo(path: Path) -> np.ndarray:
    """Upright pixels of a picture, uint8 RGB (H, W, 3), which take the least memory.

    Raises:
        UserError: the file cannot be used.
    """
    pixels: np.ndarray = float_to_pixels(read_rgb(path), torch.uint8).permute(1, 2, 0).numpy()
    return pixels


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """The numbers of a run's draws for `VeiledPhotos`, one after the other without end.

    They are `seed * DRAWS_PER_SEED` and what follows; of W processes, number r takes every
    W-th from the r-th on. So no draw comes twice, in a run or in those of two seeds, and a
    run that is resumed in as many processes goes on with the draw that comes next.

    Args:
        dataset: unused; MMEngine passes it.
        seed: of the run, >= 0; MMEngine passes it.
    """

    def __init__(self, dataset: Dataset | None = None, seed: int | None = None):
        self.rank, self.processes = get_dist_info()
        self.seed = seed or 0
        self.skipped = 0

    def __iter__(self) -> Iterator[int]:
        first = self.seed * DRAWS_PER_SEED + self.rank
        return itertools.count(first + self.skipped * self.processes, self.processes)

    def __len__(self) -> int:
        return DRAWS_PER_SEED

    def skip(self, count: int) -> None:
        """Begin after that many draws of this process: MMEngine's loop calls it on resuming."""
        self.skipped = count


@DATASETS.register_module()
class RainyPhotos(Dataset):
    """Whole photographs under each preset, and without rain (preset None), held in memory.

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
                    rainy = (rainy * 255).round() / 255  # as a picture file would hold it
                self.items.append({"rainy": rainy, "background": background, "preset": preset})

    def __getitem__(self, index: int) -> dict[str, Any]:
        """rainy and background, float (3, H, W); preset, its name."""
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.items)
