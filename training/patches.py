"""Batches of training patches with rain drawn on the fly, and all their labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from jorder_preproc.errors import UserError
from jorder_preproc.rain.accumulation import draw_accumulation
from jorder_preproc.rain.presets import AccumulationPreset
from jorder_preproc.rain.synthesize import VISIBLE, StreakLayer
from training.backgrounds import vary
from training.bank import LayerBank
from training.camera import compress
from training.data import list_photos, read_photo

COMPOSITIONS = ("preset", "add", "screen", "cover", "linear")

_WHITE = torch.ones(3, 1, 1)
_VEIL = AccumulationPreset()
_ESTIMATED = (0.6, 1.1)  # of the veil's optical depth
_SMALLEST = 0.25  # scale of a photograph
_LARGEST = 2.0  # size at which rain is drawn, in patches
_LOG_NOISE = (math.log(0.5 / 255), math.log(10 / 255))
_QUALITY = (60, 100)
_QUALITY_OF_SMALL = (20, 75)


@DATASETS.register_module()
class RainPatches(Dataset):
    """Batches of square patches of clean photographs with drawn rain, and their labels.

    Item (seed, rank, iteration) is the batch of that iteration, a function of these three
    alone: a run that is resumed sees what it would have seen. `IterationSampler` gives them.

    What comes before the rain belongs to the background: noise, JPEG, a veil. Of what comes
    after it, a network is not to learn to take it off where it does not rain: noise is the
    same on the rainy patch and on its background, and JPEG has the same quality. A dry
    patch is its own background.

    Args:
        photos: folder of clean photographs, or several. They stay in memory; those smaller
            than the largest patch are left out.
        stages: (first iteration, edge of a patch in px, patches in a batch), from iteration 0.
        mixture, layers_per_preset, streaks: see `LayerBank`.
        composition: how often rain is put on in each way of `compose_layers`; needs not add
            up to 1.
        dry: share of patches without rain.
        small_jpegs: share of the dry patches that are small pictures of low quality.
        veiled: share of patches whose background is darkened and behind a veil (Eq. 3), which
            streak removal has to leave in place.
        varied: share of patches whose background `vary` makes another kind of picture of.
        reduced: share of patches that are scaled down together with their rain, as when a
            large photograph of rain becomes a small picture.
        noisy: share of patches with a sensor's noise.
        compressed: share of patches that were JPEG files, of quality 60 to 100.
        seed: of the rendered layers.

    Raises:
        UserError: stages, shares or weights out of range, or no photograph as large as a patch.
    """

    def __init__(
        self,
        photos: str | Sequence[str],
        stages: Sequence[tuple[int, int, int]],
        mixture: Mapping[str, float],
        layers_per_preset: int,
        streaks: str | None = None,
        composition: Mapping[str, float] | None = None,
        dry: float = 0.0,
        small_jpegs: float = 0.0,
        veiled: float = 0.0,
        varied: float = 0.0,
        reduced: float = 0.0,
        noisy: float = 0.0,
        compressed: float = 0.0,
        seed: int = 0,
    ):
        starts = [start for start, _, _ in stages]
        if not starts or starts[0] != 0 or starts != sorted(starts):
            raise UserError(
                f"stages must begin at iteration 0 and rise, got {[tuple(s) for s in stages]}"
            )
        composition = composition or {"preset": 1.0}
        if set(composition) - set(COMPOSITIONS) or sum(composition.values()) <= 0:
            raise UserError(
                f"composition needs weights, not all 0, of {', '.join(COMPOSITIONS)}, "
                f"got {dict(composition)}"
            )
        self.stages = stages
        self.ways = list(composition)
        weights = np.array([composition[way] for way in self.ways], dtype=float)
        self.way_weights = weights / weights.sum()
        self.dry = dry
        self.small_jpegs = small_jpegs
        self.veiled = veiled
        self.varied = varied
        self.reduced = reduced
        self.noisy = noisy
        self.compressed = compressed
        largest = max(patch for _, patch, _ in stages)
        pixels = (read_photo(path) for path in list_photos(photos))
        self.photos = [photo for photo in pixels if min(photo.shape[:2]) >= largest]
        if not self.photos:
            raise UserError(f"no photograph under {photos} is at least {largest} x {largest} px")
        self.bank = LayerBank(mixture, layers_per_preset, streaks, seed)

    def __getitem__(self, item: tuple[int, int, int]) -> dict[str, Tensor]:
        """The batch (seed, rank, iteration): N patches of P x P px.

        Returns:
            rainy, background and streak_map, what the rain brightened, float (N, 3, P, P), in
            [0, 1]; region long (N, P, P), 1 where rain changed some channel visibly; raining
            float (N,), 1 where that is so anywhere; and, for who takes the veil off, its
            transmission, float (N, 1, P, P), as wrong as an estimate of it may be, and
            atmospheric_light (N, 3, 1, 1).
        """
        iteration = item[2]
        _, patch, count = next(s for s in reversed(self.stages) if s[0] <= iteration)
        rng = np.random.default_rng(item)
        patches = [self._draw(patch, rng) for _ in range(count)]
        return {name: torch.stack([p[name] for p in patches]) for name in patches[0]}

    def _draw(self, patch: int, rng: np.random.Generator) -> dict[str, Tensor]:
        dry = rng.random() < self.dry
        small = dry and rng.random() < self.small_jpegs
        drawn_at = patch
        if not dry and rng.random() < self.reduced:
            drawn_at = round(patch * math.exp(rng.uniform(0, math.log(_LARGEST))))
        background = self._draw_background(patch, drawn_at, small, rng)
        veil = None
        if rng.random() < self.veiled:
            veil = draw_accumulation((drawn_at, drawn_at), _VEIL, rng)
            background = background**veil.gamma
        pictures = [background]
        if not dry:
            way = self.ways[rng.choice(len(self.ways), p=self.way_weights)]
            pictures.append(compose_layers(background, self.bank.draw(drawn_at, rng), way))
        if veil is not None:
            light = (1 - veil.transmission) * veil.atmospheric_light
            pictures = [veil.transmission * picture + light for picture in pictures]
        if drawn_at != patch:
            pictures = [_reduce(picture, patch) for picture in pictures]
        if rng.random() < self.noisy:
            noise = _draw_noise(patch, rng)
            pictures = [picture + noise for picture in pictures]
        pictures = [(picture * 255).round_().clamp_(0, 255) for picture in pictures]
        if small or rng.random() < self.compressed:
            quality = int(rng.integers(*(_QUALITY_OF_SMALL if small else _QUALITY), endpoint=True))
            pictures = [_compress(picture, quality) for picture in pictures]
        target, rainy = pictures[0] / 255, pictures[-1] / 255
        change = rainy - target
        region = change.abs().amax(0) > VISIBLE
        alpha = torch.ones(1, patch, patch)
        if veil is not None:
            alpha = _reduce(veil.transmission, patch) ** rng.uniform(*_ESTIMATED)
        return {
            "rainy": rainy,
            "background": target,
            "streak_map": change.clamp_(min=0),
            "region": region.long(),
            "raining": region.any().float(),
            "transmission": alpha,
            "atmospheric_light": torch.ones(3, 1, 1) if veil is None else veil.atmospheric_light,
        }

    def _draw_background(
        self, patch: int, size: int, small: bool, rng: np.random.Generator
    ) -> Tensor:
        """A window of a photograph, at least a patch large, scaled to `size` px."""
        photo = self.photos[rng.integers(len(self.photos))]
        window = patch
        if small or rng.random() < 0.6:
            scale = math.exp(rng.uniform(math.log(_SMALLEST), 0))
            window = min(round(patch / scale), *photo.shape[:2])
        top = int(rng.integers(photo.shape[0] - window + 1))
        left = int(rng.integers(photo.shape[1] - window + 1))
        pixels = photo[top : top + window, left : left + window]
        if window != size:
            pixels = _resize(pixels, size, sharp=rng.random() < 0.5)
        if rng.random() < self.varied:
            pixels = vary(pixels, rng)
        pixels = np.rot90(pixels, int(rng.integers(4)))
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if rng.random() < 0.3:
            tones = (np.arange(256) / 255) ** rng.uniform(0.6, 1.5) * 255
            pixels = np.rint(tones).astype(np.uint8)[pixels]
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        background = torch.from_numpy(planes).float().div_(255)
        if rng.random() < 0.1:
            grey = background.mean(0, keepdim=True)
            background = grey + (background - grey) * float(rng.uniform(0, 1))
        return background


def compose_layers(background: Tensor, layers: Sequence[StreakLayer], way: str) -> Tensor:
    """Put rain on a picture in one of the ways in which pictures of rain are made.

    Args:
        background: float (3, H, W), in [0, 1].
        layers: of the same height and width.
        way: `add`, the light of all layers is added and clipped at white; `screen`, a layer
            moves what is behind it towards white; `preset`, each layer the one or the other,
            as it says itself; `linear`, added as light and not as display values, with a
            display's gamma of 2; `cover`, a layer moves what is behind it towards a
            light grey, as a drop does that is darker than the sky behind it.

    Returns:
        float (3, H, W), in [0, 1].
    """
    if way == "linear":
        layers = [replace(s, light=s.light**2, colour=s.colour**2) for s in layers]
        return compose_layers(background**2, layers, "add").sqrt_()
    picture = background.clone()
    for layer in layers:
        if way == "cover":
            # light, or black streaks would lie on a white wall
            colour = 0.5 + 0.5 * layer.colour.clamp(max=1)
            picture.lerp_(colour, layer.light.clamp(max=1))
        elif way == "screen" or (way == "preset" and layer.blended):
            picture.lerp_(_WHITE, (layer.light * layer.colour).clamp_(max=1))
        else:
            picture.addcmul_(layer.light, layer.colour).clamp_(max=1)
    return picture


def _resize(pixels: np.ndarray, size: int, sharp: bool = False) -> np.ndarray:
    """(H, H, C) to `size` px; `sharp` as many programs do, where that does not lose lines."""
    smaller = pixels.shape[0] > size
    sharp = sharp and pixels.shape[0] < 2 * size
    method = cv2.INTER_AREA if smaller and not sharp else cv2.INTER_CUBIC
    return cv2.resize(pixels, (size, size), interpolation=method)


def _reduce(image: Tensor, size: int) -> Tensor:
    """Float (C, H, H) scaled down to `size` px."""
    planes = [_resize(plane.numpy(), size) for plane in image]
    return torch.from_numpy(np.stack(planes))


def _draw_noise(size: int, rng: np.random.Generator) -> Tensor:
    """A sensor's noise, float (1 or 3, size, size)."""
    deviation = math.exp(rng.uniform(*_LOG_NOISE))
    noise = rng.standard_normal((int(rng.choice([1, 3])), size, size), np.float32)
    return torch.from_numpy(noise) * deviation


def _compress(image: Tensor, quality: int) -> Tensor:
    """What JPEG keeps of whole numbers (3, H, W) from 0 to 255."""
    pixels = np.ascontiguousarray(image.byte().permute(1, 2, 0).numpy())
    return torch.from_numpy(compress(pixels, quality)).permute(2, 0, 1).float().contiguous()


@DATA_SAMPLERS.register_module()
class IterationSampler(Sampler[tuple[int, int, int]]):
    """Items (seed, rank, iteration) for `RainPatches`, without end.

    Args:
        dataset: unused; MMEngine passes it.
        seed: another one gives another stream; MMEngine passes the run's.
    """

    def __init__(self, dataset: Dataset, seed: int | None = None):
        self.rank, _ = get_dist_info()
        self.seed = seed or 0
        self.first = 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return ((self.seed, self.rank, iteration) for iteration in itertools.count(self.first))

    def __len__(self) -> int:
        return 2**31 - 1

    def skip(self, count: int) -> None:
        """Leave out `count` iterations: MMEngine tells how many were done before a resume."""
        self.first += count


@FUNCTIONS.register_module()
def only_item(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """For a data loader whose items are whole batches, taken one at a time."""
    (item,) = items
    return item
