"""Rain on a clean image, rounding to 8 bits as files are, and PSNR and SSIM on luminance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evaluation.datasets.photos import Loader
from evaluation.report.grid import Cell, Grid
from jorder_preproc.errors import UserError
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.rain import RainPreset, synthesize_rain

KINDS = ("light", "heavy", "rain800")
"""Presets of rain like that of Rain100L, Rain100H and Rain800."""

DIGITS = {"PSNR": 2, "SSIM": 4}
"""Decimals in tables."""

Scores = tuple[float, float]
"""PSNR, dB, and SSIM."""


@dataclass(frozen=True)
class RainyImage:
    """A clean image with synthesized rain.

    Attributes:
        name: of the image.
        clean: B, float RGB (3, H, W), in [0, 1].
        rainy: O, like it, rounded to 8 bits.
        streak_map: S, float (3, H, W), >= 0.
        region: R, bool (H, W).
    """

    name: str
    clean: Tensor
    rainy: Tensor
    streak_map: Tensor
    region: Tensor


def add_rain(name: str, clean: Tensor, preset: str | RainPreset, seed: int) -> RainyImage:
    """Rain that depends on the seed and the image's name."""
    sample = synthesize_rain(clean, preset, seed, image_id=name)
    region = sample.region_mask[0] > 0.5
    return RainyImage(name, clean, to_8_bits(sample.rainy), sample.streak_map, region)


def add_rain_to_all(
    images: Mapping[str, Loader], preset: str | RainPreset, seed: int
) -> Iterator[RainyImage]:
    """Load images one by one and add rain; see `add_rain`."""
    for name, load in images.items():
        yield add_rain(name, load(), preset, seed)


def to_8_bits(image: Tensor) -> Tensor:
    """A float image clipped to [0, 1] and rounded to 8 bits, as a file holds it, on the CPU."""
    return pixels_to_float(float_to_pixels(image.detach().cpu().float().clamp(0, 1), torch.uint8))


def check_restored(name: str, restored: Any, clean: Tensor) -> Tensor:
    """A restored image rounded to 8 bits, after a check of what another's method gave.

    Raises:
        UserError: not a finite float tensor of the clean image's shape.
    """
    if not isinstance(restored, Tensor) or not restored.is_floating_point():
        kind = restored.dtype if isinstance(restored, Tensor) else type(restored).__name__
        raise UserError(f"{name}: expected a float tensor (3, H, W), got {kind}")
    if restored.shape != clean.shape:
        raise UserError(
            f"{name}: expected shape {tuple(clean.shape)}, got {tuple(restored.shape)}; it must "
            "have the size of the rainy image"
        )
    if not restored.isfinite().all():
        raise UserError(f"{name}: has values that are not finite")
    return to_8_bits(restored)


def score(name: str, restored: Any, clean: Tensor) -> Scores:
    """PSNR and SSIM on luminance of a restored image, rounded to 8 bits.

    Raises:
        UserError: see `check_restored`, or smaller than the window of SSIM.
    """
    image = check_restored(name, restored, clean)
    try:
        return float(psnr(image, clean)), float(ssim(image, clean))
    except ValueError as error:
        raise UserError(f"{name}: {error}; leave this image out") from error


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean PSNR and mean SSIM."""
    return tuple(sum(values) / len(values) for values in zip(*scores, strict=True))


def grid_by_kind(title: str, scores: Mapping[str, Mapping[str, Sequence[Scores]]]) -> Grid:
    """Mean scores for each kind of rain.

    Args:
        title: of the first column.
        scores: of each image, by row and kind of rain.
    """
    columns = {f"{kind} {metric}": digits for kind in KINDS for metric, digits in DIGITS.items()}
    rows: list[list[Cell]] = [
        [row, *(value for kind in KINDS for value in mean_scores(by_kind[kind]))]
        for row, by_kind in scores.items()
    ]
    images = {len(values) for by_kind in scores.values() for values in by_kind.values()}
    note = f"Means over {max(images, default=0)} photographs, on luminance; PSNR in dB."
    return Grid([title, *columns], rows, columns, note)
