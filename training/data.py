"""Photographs to train on, and validation photographs with fixed rain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from PIL import Image
from torch.utils.data import Dataset, Sampler

from jorder_preproc.rain import PRESETS, synthesize_rain

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def list_photos(folders: str | Path | Sequence[str]) -> list[Path]:
    """Pictures under a folder, sorted, or under each of several.

    Raises:
        ValueError: none there.
    """
    photos = []
    for folder in [folders] if isinstance(folders, str | Path) else folders:
        found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _PICTURES)
        if not found:
            raise ValueError(f"no pictures ({', '.join(sorted(_PICTURES))}) under {folder}")
        photos += found
    return photos


def read_photo(path: Path) -> np.ndarray:
    """Pixels of a picture, uint8 RGB (H, W, 3)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Endless random numbers, different on every rank, for `VeiledPhotos`.

    Args:
        dataset: unused; MMEngine passes it.
        seed: another one gives another stream; MMEngine passes the run's.
    """

    def __init__(self, dataset: Dataset, seed: int | None = None):
        self.rank, _ = get_dist_info()
        self.seed = seed or 0
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.rank, self.epoch])
        while True:
            yield int(rng.integers(2**62))

    def __len__(self) -> int:
        return 2**31 - 1

    def set_epoch(self, epoch: int) -> None:
        """Start another stream: training calls it with the iteration it resumes from."""
        self.epoch = epoch


@DATASETS.register_module()
class RainyPhotos(Dataset):
    """Whole photographs under each preset, and without rain (preset None), held in memory.

    Args:
        photos: folder of clean photographs.
        presets: names from `jorder_preproc.rain.PRESETS`; `clean` for no rain.
        seed: of the rain; the image id is the file's name.
    """

    def __init__(self, photos: str, presets: Sequence[str], seed: int = 0):
        unknown = set(presets) - set(PRESETS) - {"clean"}
        if unknown:
            raise ValueError(
                f"unknown presets {sorted(unknown)}; choose from clean, {list(PRESETS)}"
            )
        self.items: list[dict[str, Any]] = []
        for path in list_photos(photos):
            background = torch.from_numpy(read_photo(path)).permute(2, 0, 1).float() / 255
            for preset in presets:
                rainy = background
                if preset != "clean":
                    rainy = synthesize_rain(background, preset, seed, path.name).rainy
                    rainy = (rainy * 255).round() / 255  # as a picture file would hold it
                self.items.append({"rainy": rainy, "background": background, "preset": preset})

    def __getitem__(self, index: int) -> dict[str, Any]:
        """rainy and background, float (3, H, W); preset, its name."""
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.items)
