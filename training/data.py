"""Training patches with rain drawn on the fly, and validation photographs with fixed rain."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from jorder_preproc.images import float_to_pixels
from jorder_preproc.picture_files import SUFFIXES, list_pictures, read_rgb
from jorder_preproc.rain import PRESETS, add_rain, synthesize_rain
from jorder_preproc.rain.accumulation import draw_accumulation, no_accumulation
from jorder_preproc.rain.presets import AccumulationPreset
from jorder_preproc.rain.synthesize import VISIBLE
from training.backgrounds import vary
from training.bank import LayerBank

DRAWS_PER_SEED = 2**32
"""Numbers that a run has for its draws; see `DrawSampler`."""

_VEIL = AccumulationPreset()
_ESTIMATED = (0.6, 1.1)  # of the veil's optical depth


def list_photos(folder: str | Path) -> list[Path]:
    """Pictures under `folder`, sorted.

    Raises:
        ValueError: none there.
    """
    photos = list_pictures(Path(folder), recursive=True)
    if not photos:
        raise ValueError(f"no pictures ({', '.join(sorted(SUFFIXES))}) under {folder}")
    return photos


def read_photo(path: Path) -> np.ndarray:
    """Upright pixels of a picture, uint8 RGB (H, W, 3), which take the least memory.

    Raises:
        ValueError: the file cannot be used.
    """
    pixels: np.ndarray = float_to_pixels(read_rgb(path), torch.uint8).permute(1, 2, 0).numpy()
    return pixels


@DATASETS.register_module()
class RainPatches(Dataset):
    """Square patches of clean photographs with drawn rain, and their labels.

    Item `draw` is a function of that number alone, so that `DrawSampler` gives an endless,
    reproducible stream. Photographs stay in memory.

    Args:
        photos: folder of clean photographs.
        patch: edge, px.
        mixture, layers_per_preset, pairs, pairs_weight, seed: see `LayerBank`.
        dry: share of patches without rain.
        veiled: share of patches whose background is behind a veil (Eq. 3), which
            streak removal has to leave in place.
        varied: share of patches whose background `vary` makes another kind of picture of.

    Raises:
        ValueError: no photographs, or none as large as a patch.
    """

    def __init__(
        self,
        photos: str,
        patch: int,
        mixture: Mapping[str, float],
        layers_per_preset: int,
        pairs: str | None = None,
        pairs_weight: float = 0.0,
        dry: float = 0.1,
        veiled: float = 0.15,
        varied: float = 0.0,
        seed: int = 0,
    ):
        self.patch = patch
        self.dry = dry
        self.veiled = veiled
        self.varied = varied
        pixels = (read_photo(path) for path in list_photos(photos))
        self.photos = [photo for photo in pixels if min(photo.shape[:2]) >= patch]
        if not self.photos:
            raise ValueError(f"no photograph under {photos} is at least {patch} x {patch} px")
        self.bank = LayerBank(mixture, layers_per_preset, pairs, pairs_weight, seed)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """A patch and its labels.

        Returns:
            rainy, background, streak_map float (3, P, P); region long (P, P); and, for who
            takes the veil off, its transmission, float (1, P, P), as wrong as an estimate of
            it may be, and atmospheric_light (3, 1, 1).
        """
        rng = np.random.default_rng(draw)
        background = self._draw_background(rng)
        veil = None
        if rng.random() < self.veiled:
            veil = draw_accumulation((self.patch, self.patch), _VEIL, rng)
        layers = [] if rng.random() < self.dry else self.bank.draw(self.patch, rng)
        sample = add_rain(background, layers, veil)
        target = sample.rainy
        if veil is not None or layers:
            target = add_rain(background, [], veil).rainy
        streak_map = (sample.rainy - target).clamp(min=0)
        veil = veil or no_accumulation((self.patch, self.patch))
        return {
            "rainy": sample.rainy,
            "background": target,
            "streak_map": streak_map,
            "region": (streak_map.amax(0) > VISIBLE).long(),
            "transmission": veil.transmission ** rng.uniform(*_ESTIMATED),
            "atmospheric_light": veil.atmospheric_light,
        }

    def _draw_background(self, rng: np.random.Generator) -> Tensor:
        photo = self.photos[rng.integers(len(self.photos))]
        largest = min(photo.shape[:2])
        window = self.patch
        varied = rng.random() < self.varied
        scaled = rng.random()
        if scaled < 0.4:  # finer texture: a larger window, scaled down
            window = int(rng.integers(self.patch, min(2 * self.patch, largest) + 1))
        elif varied and scaled < 0.7:  # soft, as after a digital zoom
            window = int(rng.integers(self.patch // 3, self.patch))
        top = int(rng.integers(photo.shape[0] - window + 1))
        left = int(rng.integers(photo.shape[1] - window + 1))
        pixels = photo[top : top + window, left : left + window]
        if window != self.patch:
            image = Image.fromarray(pixels)
            size = (self.patch, self.patch)
            pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.5))
        if varied:
            pixels = vary(pixels, rng)
        pixels = np.rot90(pixels, int(rng.integers(4)))
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        background = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        if rng.random() < 0.3:
            background = background ** float(rng.uniform(0.6, 1.5))
        if rng.random() < 0.1:
            grey = background.mean(0, keepdim=True)
            background = grey + (background - grey) * float(rng.uniform(0, 1))
        return background


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """The numbers of a run's draws, one after the other without end.

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
            background = read_rgb(path)
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
