"""Batches of training patches with rain drawn on the fly, and all their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch import Tensor
from torch.utils.data import Dataset

from jorder_preproc.errors import UserError
from jorder_preproc.rain.accumulation import draw_accumulation
from jorder_preproc.rain.presets import AccumulationPreset
from jorder_preproc.rain.synthesize import VISIBLE, StreakLayer
from training.backgrounds import vary
from training.bank import LayerBank
from training.camera import compress
from training.data import list_photos, random_window, read_photo

COMPOSITIONS = ("preset", "add", "screen", "cover", "paint", "linear")

_WHITE = torch.ones(3, 1, 1)
_VEIL = AccumulationPreset()
_ESTIMATED = (0.6, 1.1)  # of the veil's optical depth
_SMALLEST = 0.25  # scale of a photograph
_LARGEST = 2.0  # size at which rain is drawn, relative to the patch
_FAINTEST = 0.1  # of the light of streaks
_VISIBILITY_CELLS = 4  # at most, along an edge
_LOG_NOISE = (math.log(0.5 / 255), math.log(10 / 255))
_QUALITY = (60, 100)
_QUALITY_OF_SMALL = (20, 75)


@DATASETS.register_module()
class RainPatches(Dataset):
    """Batches of square patches of clean photographs with synthetic rain, and their labels.

    Item (seed, rank, iteration) is the batch of that iteration and depends on these three
    alone, so that a resumed run continues with the batches of an uninterrupted one. The items
    come from `IterationSampler`.

    Degradations other than rain are in the input and in the target alike, since the network
    should keep them: both get the same noise, JPEG of the same quality, and the same rain
    accumulation. A dry patch is its own target.

    Args:
        photos: folder of clean photographs, or several. They are held in memory; those smaller
            than the largest patch are left out.
        stages: (first iteration, edge of a patch in px, patches in a batch), from iteration 0.
        mixture, layers_per_preset, streaks: see `LayerBank`.
        composition: relative frequency of each method of `compose_layers`.
        dry: share of patches without rain.
        small_jpegs: share of the dry patches that are small JPEGs of quality 20 to 75.
        veiled: share of patches with a darkened background and rain accumulation (Eq. 3),
            which streak removal has to leave in place.
        varied: share of patches whose background is changed by `backgrounds.vary`.
        faint: share of the rainy patches whose streaks keep 10 to 100 % of their light, more
            here and less there.
        reduced: share of patches that are downscaled together with their rain, as when a
            large photograph of rain is resized.
        noisy: share of patches with sensor noise.
        compressed: share of patches compressed as JPEG of quality 60 to 100.
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
        faint: float = 0.0,
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
        shares = dict(dry=dry, small_jpegs=small_jpegs, veiled=veiled, varied=varied, faint=faint)
        shares |= dict(reduced=reduced, noisy=noisy, compressed=compressed)
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise UserError(f"{name} is a share in [0, 1], got {share}")
        composition = composition or {"preset": 1.0}
        parts = composition.values()
        if set(composition) - set(COMPOSITIONS) or sum(parts) <= 0 or min(parts) < 0:
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
        self.faint = faint
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
            rainy, background and streak_map (what rain added), float (N, 3, P, P), in [0, 1];
            region, long (N, P, P), 1 where rain changed a channel visibly; raining, float
            (N,), 1 where region has a 1; transmission for deveiling, float (N, 1, P, P),
            perturbed to mimic estimation error; atmospheric_light, float (N, 3, 1, 1).
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
        images = [background]
        if not dry:
            way = self.ways[rng.choice(len(self.ways), p=self.way_weights)]
            layers = self.bank.draw(drawn_at, rng)
            if rng.random() < self.faint:
                kept = _draw_visibility(drawn_at, rng)
                layers = [replace(layer, light=layer.light * kept) for layer in layers]
            images.append(compose_layers(background, layers, way))
        if veil is not None:
            light = (1 - veil.transmission) * veil.atmospheric_light
            images = [veil.transmission * image + light for image in images]
        if drawn_at != patch:
            images = [_reduce(image, patch) for image in images]
        if rng.random() < self.noisy:
            deviation = math.exp(rng.uniform(*_LOG_NOISE))
            drawn = rng.standard_normal((int(rng.choice([1, 3])), patch, patch), np.float32)
            noise = torch.from_numpy(drawn) * deviation
            images = [image + noise for image in images]
        images = [(image * 255).round_().clamp_(0, 255) for image in images]
        if small or rng.random() < self.compressed:
            quality = int(rng.integers(*(_QUALITY_OF_SMALL if small else _QUALITY), endpoint=True))
            images = [_compress(image, quality) for image in images]
        target, rainy = images[0] / 255, images[-1] / 255
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
        pixels = photo[random_window(photo.shape, (window, window), rng)]
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
    """Compose rain layers onto an image by one of the methods that rain data sets use.

    Args:
        background: float (3, H, W), in [0, 1].
        layers: of the same height and width.
        way: `add` adds the light of each layer and clips at white; `screen` blends towards
            white; `preset` does either, as `StreakLayer.blended` says; `linear` adds in
            linear light, with a display gamma of 2; `cover` blends towards a light grey, as
            for a drop that is darker than the sky behind it; `paint` replaces the pixels where
            a layer has more than half of its greatest light by that grey: opaque streaks with
            hard edges, as drawn without anti-aliasing.

    Returns:
        float (3, H, W), in [0, 1].
    """
    if way == "linear":
        layers = [replace(s, light=s.light**2, colour=s.colour**2) for s in layers]
        return compose_layers(background**2, layers, "add").sqrt_()
    image = background.clone()
    for layer in layers:
        if way in ("cover", "paint"):
            # a light grey: dark streaks on white would not look like rain
            colour = 0.5 + 0.5 * layer.colour.clamp(max=1)
            light = layer.light.clamp(max=1)
            if way == "paint":
                light = (layer.light > layer.light.amax() / 2).float()
            image.lerp_(colour, light)
        elif way == "screen" or (way == "preset" and layer.blended):
            image.lerp_(_WHITE, (layer.light * layer.colour).clamp_(max=1))
        else:
            image.addcmul_(layer.light, layer.colour).clamp_(max=1)
    return image


def _draw_visibility(size: int, rng: np.random.Generator) -> Tensor:
    """Share of their light that streaks keep, float (1, size, size), the same or smooth."""
    cells = int(rng.integers(1, _VISIBILITY_CELLS, endpoint=True))
    grid = rng.uniform(math.log(_FAINTEST), 0, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.exp(smooth))[None]


def _resize(pixels: np.ndarray, size: int, sharp: bool = False) -> np.ndarray:
    """Resize (H, H, C) to `size` px: area averaging, or bicubic if `sharp` and above half size."""
    smaller = pixels.shape[0] > size
    sharp = sharp and pixels.shape[0] < 2 * size
    method = cv2.INTER_AREA if smaller and not sharp else cv2.INTER_CUBIC
    return cv2.resize(pixels, (size, size), interpolation=method)


def _reduce(image: Tensor, size: int) -> Tensor:
    """Float (C, H, H) scaled down to `size` px."""
    planes = [_resize(plane.numpy(), size) for plane in image]
    return torch.from_numpy(np.stack(planes))


def _compress(image: Tensor, quality: int) -> Tensor:
    """JPEG round trip of whole numbers (3, H, W) from 0 to 255."""
    pixels = np.ascontiguousarray(image.byte().flip(0).permute(1, 2, 0).numpy())
    compressed = torch.from_numpy(compress(pixels, quality))
    return compressed.permute(2, 0, 1).flip(0).float().contiguous()


@FUNCTIONS.register_module()
def only_item(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Collate function for data sets whose items are whole batches."""
    (item,) = items
    return item
