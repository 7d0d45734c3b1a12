"""The images that weights are scored on: rain that is never trained on, and dry photographs.

Every row depends on the photographs, their names and the seed alone. Other libraries are seeded
from the seed and the image's name: albumentations by `set_random_seed`, imgaug by its argument
`seed`, and kornia, which uses torch's global generator, within `fork_rng`.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from jorder_preproc.errors import UserError
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.rain import PRESETS, synthesize_rain
from jorder_preproc.rain.identity import image_name, rain_generator
from training.data import list_photos, read_photo

DRY = "dry"
SMALL = "_256"
"""Suffix of rows on photographs that are resized to 256x256 and JPEG-compressed before rain."""
DRY_SMALL = DRY + SMALL

_BLUR_PX = {"drizzle": 1, "heavy": 3, "torrential": 3}
"""Blur of albumentations' rain types; with its default of 7 no streaks are visible."""

_SMALL_PX = 256
_JPEG_QUALITY = 75

PutRain = Callable[[np.ndarray, int], np.ndarray]
"""Adds rain to uint8 RGB (H, W, 3) pixels, given a seed."""


class Pair(NamedTuple):
    """An image to restore and its target.

    Attributes:
        rainy, reference: uint8 RGB (3, H, W).
    """

    rainy: Tensor
    reference: Tensor


@functools.cache  # drawn once for all checkpoints of one command
def draw_pairs(
    rain: str, photos: str, seed: int, limit: int | None = None, veil_stays: bool = True
) -> tuple[Pair, ...]:
    """Every photograph with one kind of rain, rounded to 8 bits.

    Args:
        rain: a name from `list_rains`.
        photos: folder of clean photographs; the rain's image id is the path in it.
        seed: >= 0.
        limit: the first so many photographs by name; None takes all.
        veil_stays: the reference keeps the accumulation of the preset and lacks the streaks
            alone; otherwise it is the clean photograph.

    Raises:
        UserError: unknown rain, no photographs, a limit below 1, or the library that draws it is
            missing.
    """
    return tuple(
        draw_pair(rain, read_photo(path), seed, image_name(path, photos), veil_stays)
        for path in list_photos(photos, limit)
    )


def draw_pair(rain: str, pixels: np.ndarray, seed: int, name: str, veil_stays: bool = True) -> Pair:
    """One photograph with one kind of rain; see `draw_pairs`.

    Args:
        rain, seed, veil_stays: see there.
        pixels: clean, uint8 RGB (H, W, 3).
        name: the rain's image id.

    Raises:
        UserError: unknown rain, or the library that draws it is missing.
    """
    if rain not in list_rains():
        raise UserError(f"unknown rain {rain!r}; choose from {', '.join(list_rains())}")
    kind = rain.removesuffix(SMALL)
    if kind != rain:
        pixels = _as_small_jpeg(pixels)
    if kind in PRESETS:
        reference = pixels_to_float(_to_tensor(pixels))
        sample = synthesize_rain(reference, kind, seed, name)
        if veil_stays:
            veil, air = sample.transmission, sample.atmospheric_light
            reference = veil * sample.darkened + (1 - veil) * air
        return Pair(*(float_to_pixels(image, torch.uint8) for image in (sample.rainy, reference)))
    if kind in _LIBRARIES:
        put_rain = _LIBRARIES[kind]()
        drawn = put_rain(pixels, int(rain_generator(seed, name).integers(2**31)))
        return Pair(_to_tensor(drawn), _to_tensor(pixels))
    dry = _to_tensor(pixels)
    return Pair(dry, dry)


@functools.cache
def read_pairs(folder: str, limit: int | None = None) -> tuple[Pair, ...]:
    """Pairs of files with equal names in `folder`/rain and `folder`/norain.

    Args:
        folder: holds the two.
        limit: the first so many by name; None takes all.

    Raises:
        UserError: no images, an image without its partner, or partners of different sizes.
    """
    pairs = []
    for path in list_photos(Path(folder, "rain"), limit):
        partner = Path(folder, "norain", path.name)
        if not partner.is_file():
            raise UserError(f"{path} has no clean partner; expected {partner}")
        pair = Pair(_to_tensor(read_photo(path)), _to_tensor(read_photo(partner)))
        if pair.rainy.shape != pair.reference.shape:
            sizes = [f"{image.shape[2]}x{image.shape[1]}" for image in pair]
            raise UserError(f"{path} is {sizes[0]}, its partner {partner} is {sizes[1]}")
        pairs.append(pair)
    return tuple(pairs)


def list_rains() -> list[str]:
    """Names that `draw_pairs` takes."""
    return [*PRESETS, *_LIBRARIES, DRY, *(f"{kind}{SMALL}" for kind in (*PRESETS, DRY))]


def _albumentations(rain_type: str) -> PutRain:
    # at import it would look for a newer version online
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # brightness_coefficient=1: darkening is not rain, and derainers do not undo it
    transform = _import("albumentations", "RandomRain")(
        rain_type=rain_type, blur_value=_BLUR_PX[rain_type], brightness_coefficient=1.0, p=1.0
    )

    def put_rain(pixels: np.ndarray, seed: int) -> np.ndarray:
        transform.set_random_seed(seed)
        return transform(image=pixels)["image"]

    return put_rain


def _kornia() -> PutRain:
    transform = _import("kornia.augmentation", "RandomRain")(p=1.0)

    def put_rain(pixels: np.ndarray, seed: int) -> np.ndarray:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rainy = transform(pixels_to_float(_to_tensor(pixels))[None])[0]
        return float_to_pixels(rainy, torch.uint8).permute(1, 2, 0).numpy()

    return put_rain


def _imgaug() -> PutRain:
    rain = _import("imgaug.augmenters", "Rain")
    return lambda pixels, seed: rain(seed=seed)(image=pixels)


def _import(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise UserError(
            f"rain of {module.partition('.')[0]} needs that library ({error}); pip install "
            "--editable '.[stick]', or name the rains to score on without it: --rains"
        ) from error


_LIBRARIES: Mapping[str, Callable[[], PutRain]] = {
    **{
        f"albumentations_{rain_type}": functools.partial(_albumentations, rain_type)
        for rain_type in _BLUR_PX
    },
    "kornia": _kornia,
    "imgaug": _imgaug,
}

_PRESETS = ("light", "heavy", "storm", "rain800", "light_256", "heavy_256")
STICK = (*_PRESETS, *_LIBRARIES, DRY, DRY_SMALL)
"""Rows for a derainer, without pairs of files."""


def _as_small_jpeg(pixels: np.ndarray) -> np.ndarray:
    """Centre crop, resize to 256x256, JPEG round trip."""
    small = ImageOps.fit(Image.fromarray(pixels), (_SMALL_PX, _SMALL_PX), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_JPEG_QUALITY)
    with Image.open(file) as image:
        return np.array(image)


def _to_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
