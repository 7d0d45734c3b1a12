"""Rain accumulation: random veils of distant streaks (Sec. 3, Sec. 5.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jorder_preproc.rain.grid import to_grid
from jorder_preproc.rain.presets import AccumulationPreset


@dataclass(frozen=True)
class Accumulation:
    """The veil of one image.

    Attributes:
        transmission: alpha, float (1, H, W), in (0, 1].
        atmospheric_light: A, float (3, 1, 1), in [0, 1].
        gamma: exponent that darkens the background before the veil.
    """

    transmission: Tensor
    atmospheric_light: Tensor
    gamma: float


def draw_accumulation(
    shape: tuple[int, int], preset: AccumulationPreset, rng: np.random.Generator
) -> Accumulation:
    """Draw a veil for an image of that height and width."""
    farthest = float(rng.uniform(*preset.transmission))
    if rng.random() < preset.depth_probability:
        # Koschmieder: alpha = exp(-beta depth), with beta such that depth 1 gives `farthest`
        transmission = to_grid(farthest ** draw_depth(shape, rng))
    else:
        transmission = torch.full((1, *shape), farthest)
    light = rng.uniform(*preset.atmospheric_light) + rng.uniform(-1, 1, 3) * preset.light_tint
    return Accumulation(
        transmission=transmission,
        atmospheric_light=torch.from_numpy(np.clip(light, 0, 1)).float().view(3, 1, 1),
        gamma=float(rng.uniform(*preset.gamma)),
    )


def draw_depth(shape: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """A synthetic outdoor depth map: ground up to a horizon, sky, upright planes, relief.

    Returns:
        float64 (1, H, W), in [0, 1]; 1 is the farthest point.
    """
    height, width = shape
    horizon = rng.uniform(0.1, 0.6)
    tilt = rng.uniform(-0.15, 0.15)
    across = torch.linspace(-1, 1, width, dtype=torch.float64)[None]
    rows = torch.linspace(0, 1, height, dtype=torch.float64)[:, None] + tilt * across
    depth = 1 - ((rows - horizon) / (1.2 - horizon)).clamp(0, 1)
    for _ in range(rng.integers(4)):
        # upright planes with soft edges, like house fronts and rows of trees
        centre, half_width, top = rng.uniform(-1, 1), rng.uniform(0.1, 0.6), rng.uniform(-0.3, 0.6)
        softness = rng.uniform(0.01, 0.06)
        inside = ((half_width - (across - centre).abs()) / softness).sigmoid()
        inside = inside * ((rows - top) / softness).sigmoid()
        plane = rng.uniform(0.1, 0.8) + rng.uniform(-0.3, 0.3) * (across - centre)
        depth = depth + inside * (torch.minimum(plane, depth) - depth)
    grid = torch.from_numpy(rng.normal(0, rng.uniform(0.05, 0.3), (1, 1, 5, 6)))
    relief = interpolate(grid, shape, mode="bicubic", align_corners=True)[0]
    depth = (depth[None] + relief).clamp(min=0.02)
    return depth / depth.amax()
