"""A bank of streak layers rendered once, so that training never waits for rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from jorder_preproc.rain.presets import get_preset
from jorder_preproc.rain.synthesize import StreakLayer, draw_layer

_ROTATED_SHARE = 0.3
_MOST_ROTATION_DEG = 20.0


@dataclass(frozen=True)
class _Source:
    """Layers of one kind of rain and the preset that says how to combine them."""

    preset: str
    weight: float
    layers: list[Tensor]  # each (H, W), float16, about 1 on a streak


class LayerBank:
    """Streak layers of several kinds of rain, recombined by crop, flip, rotation and gain.

    Args:
        mixture: how often each preset is used, by name; needs not add up to 1.
        layers_per_preset: layers to render for each.
        pairs: folder with `rain/` and `norain/` pictures of equal names, whose difference
            gives layers of real benchmark rain, combined as the preset `wide`; or None.
        pairs_weight: how often those are used.
        seed: of the rendering.
        layer_px: height and width of the rendered layers, the largest that can be drawn.

    Raises:
        ValueError: a picture under `pairs` has no partner of its size.
    """

    def __init__(
        self,
        mixture: Mapping[str, float],
        layers_per_preset: int,
        pairs: str | Path | None = None,
        pairs_weight: float = 0.0,
        seed: int = 0,
        layer_px: int = 384,
    ):
        rng = np.random.default_rng(seed)
        shape = (layer_px, layer_px)
        self._sources = []
        for name, weight in mixture.items():
            drawn = (draw_layer(shape, get_preset(name), rng) for _ in range(layers_per_preset))
            self._sources.append(_Source(name, weight, [layer.light.half() for layer in drawn]))
        if pairs is not None:
            self._sources.append(_Source("wide", pairs_weight, layers_of_pairs(Path(pairs))))
        weights = np.array([source.weight for source in self._sources])
        self._weights = weights / weights.sum()

    def draw(self, size: int, rng: np.random.Generator) -> list[StreakLayer]:
        """Layers for one square patch of `size` px: how many, which and how bright is drawn."""
        source = self._sources[rng.choice(len(self._sources), p=self._weights)]
        preset = get_preset(source.preset)
        count = int(rng.integers(max(preset.layers[0], 1), preset.layers[1] + 1))
        layers = []
        for _ in range(count):
            light = source.layers[rng.integers(len(source.layers))]
            brightness = rng.uniform(*preset.brightness)
            colour = np.maximum(brightness + rng.uniform(-1, 1, 3) * preset.tint, 0)
            layers.append(
                StreakLayer(
                    light=_crop(light, size, rng),
                    colour=torch.from_numpy(colour).float().view(3, 1, 1),
                    blended=bool(rng.random() < preset.blend_probability),
                    parameters={},
                )
            )
        return layers


def layers_of_pairs(folder: Path) -> list[Tensor]:
    """Streak layers (H, W) of pictures with and without rain: their largest difference.

    The largest over the channels, since the others may have run into white.
    """
    layers = []
    for rainy_path in sorted((folder / "rain").iterdir()):
        clean_path = folder / "norain" / rainy_path.name
        if not clean_path.is_file():
            raise ValueError(f"{rainy_path} has no partner {clean_path}")
        with Image.open(rainy_path) as rainy, Image.open(clean_path) as clean:
            if rainy.size != clean.size:
                raise ValueError(f"{rainy_path} is {rainy.size}, its partner is {clean.size}")
            difference = np.asarray(rainy.convert("RGB"), np.float32) - np.asarray(
                clean.convert("RGB"), np.float32
            )
        light = np.maximum(difference.max(2), 0)
        layers.append(torch.from_numpy(light / max(np.quantile(light, 0.995), 1.0)).half())
    if not layers:
        raise ValueError(f"no pictures in {folder / 'rain'}")
    return layers


def _crop(light: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    rotated = rng.random() < _ROTATED_SHARE
    window = min(size + size // 2 if rotated else size, *light.shape)
    top = int(rng.integers(light.shape[0] - window + 1))
    left = int(rng.integers(light.shape[1] - window + 1))
    patch = light[top : top + window, left : left + window].float()
    if rotated:
        angle = np.deg2rad(rng.uniform(-_MOST_ROTATION_DEG, _MOST_ROTATION_DEG))
        cos, sin, zoom = np.cos(angle), np.sin(angle), size / window
        matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=torch.float32) * zoom
        grid = affine_grid(matrix[None], [1, 1, size, size], align_corners=False)
        patch = grid_sample(patch[None, None], grid, align_corners=False)[0, 0]
    flips = [axis for axis in (0, 1) if rng.random() < 0.5]
    return patch.flip(flips) if flips else patch
