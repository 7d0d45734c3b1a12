"""A bank of streak layers, rendered or read once and varied at each use."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from jorder_preproc.errors import UserError
from jorder_preproc.image_files import ImageFileError, list_images, read_image
from jorder_preproc.rain.presets import PRESETS, RENDERERS, RainPreset, Range, get_preset
from jorder_preproc.rain.synthesize import StreakLayer, draw_layer

STREAKS = "streaks"
"""Name of the mixture component whose layers are read from a folder."""

_HALVED_BELOW = 0.6  # scales below this use layers of half the resolution, against aliasing
_BRIGHTEST = 2.0  # light that is stored as 255; about 1 on a streak


@dataclass(frozen=True)
class _Change:
    """Random changes of a layer at each use.

    Attributes:
        share: probability that the layers of an image are rotated and scaled.
        rotation_deg, shear: maximum, in both directions.
        scale: range, drawn log-uniformly.
        gain: range of a factor on the light before it is clipped at 1; None for no gain.
        blur_px: range of the standard deviation.
    """

    share: float
    rotation_deg: float
    shear: float
    scale: Range
    gain: Range | None
    blur_px: Range


_OF_RENDERED = _Change(0.3, 20.0, 0.0, (0.8, 1.2), None, (0.0, 0.0))
_OF_READ = _Change(1.0, 35.0, 0.2, (0.3, 1.3), (0.7, 3.0), (0.0, 0.9))
# how layers from files are combined
_READ = RainPreset(layers=(1, 5), brightness=(0.2, 1.0), tint=0.06, blend_probability=0.4)
_DENSE = RainPreset(
    layers=(1, 2),
    angle_spread_deg=(0.0, 2.0),
    density=(4e-3, 1.4e-2),
    length_px=(15.0, 60.0),
    width_px=(0.8, 3.0),
    variation=(0.1, 0.8),
    brightness=(0.15, 0.5),
    blend_probability=0.1,
)
# along the columns of pixels: the sharpest edges
_UPRIGHT = replace(
    _DENSE, angle_deg=(0.0, 0.0), angle_spread_deg=(0.0, 0.0), length_px=(15.0, 120.0)
)


@dataclass(frozen=True)
class _Source:
    """Layers of one kind of rain, and how they are changed and combined."""

    preset: RainPreset
    change: _Change
    layers: list[np.ndarray]  # each uint8 (H, W)
    light_of_255: float

    @cached_property
    def halves(self) -> list[np.ndarray]:
        """The layers at half resolution."""
        area = cv2.INTER_AREA
        return [cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=area) for x in self.layers]


class LayerBank:
    """Streak layers of several kinds of rain, for random combination.

    Args:
        mixture: relative frequency of each kind. A kind is a preset; `lines`, `drops` or
            `noise`, the preset `wide` with that renderer alone; `dense`, lines that cover about
            half of an image; or `streaks`, layers from the folder `streaks`. Kinds of frequency 0
            are left out.
        layers_per_preset: number of layers rendered for each kind.
        streaks: folder of grey images of streaks on black; None if the mixture has none.
        seed: of the rendering.
        layer_px: height and width of the rendered layers.

    Raises:
        UserError: an unknown kind, one without streaks, an empty mixture, or `streaks` without
            its folder.
    """

    def __init__(
        self,
        mixture: Mapping[str, float],
        layers_per_preset: int,
        streaks: str | Path | None = None,
        seed: int = 0,
        layer_px: int = 384,
    ):
        used = {name: weight for name, weight in mixture.items() if weight}
        if not used or min(used.values()) < 0:
            raise UserError(f"a mixture needs weights >= 0, not all 0, got {dict(mixture)}")
        rng = np.random.default_rng(seed)
        self._sources = []
        for name in used:
            if name == STREAKS:
                if streaks is None:
                    raise UserError(f"the mixture has `{STREAKS}`, which needs their folder")
                self._sources.append(_Source(_READ, _OF_READ, read_layers(streaks), 1.0))
                continue
            presets = _presets(name)
            if presets[0].layers[1] == 0:
                raise UserError(f"the preset {name} has no streaks to train on; use another one")
            layers = []
            for preset in itertools.islice(itertools.cycle(presets), layers_per_preset):
                light = draw_layer((layer_px, layer_px), preset, rng).light.numpy()
                levels = np.rint(np.minimum(light / _BRIGHTEST, 1) * 255)
                layers.append(levels.astype(np.uint8))
            self._sources.append(_Source(presets[0], _OF_RENDERED, layers, _BRIGHTEST))
        weights = np.array(list(used.values()), dtype=float)
        self._weights = weights / weights.sum()

    def draw(self, size: int, rng: np.random.Generator) -> list[StreakLayer]:
        """Random layers of one kind for a square image of `size` px.

        Number, brightness and common direction are drawn, and how far single layers deviate
        from that direction.
        """
        source = self._sources[rng.choice(len(self._sources), p=self._weights)]
        preset, change = source.preset, source.change
        count = int(rng.integers(max(preset.layers[0], 1), preset.layers[1] + 1))
        most = change.rotation_deg
        turn_deg, spread_deg = rng.uniform(-most, most), rng.uniform(0, most)
        scale = math.exp(rng.uniform(math.log(change.scale[0]), math.log(change.scale[1])))
        if rng.random() >= change.share:
            turn_deg, spread_deg, scale = 0.0, 0.0, 1.0
        layers, unit = source.layers, 1.0
        if scale < _HALVED_BELOW:
            layers, unit = source.halves, 0.5
        drawn = []
        for _ in range(count):
            pixels = layers[rng.integers(len(layers))]
            angle_deg = max(-most, min(turn_deg + rng.uniform(-spread_deg, spread_deg), most))
            shear = rng.uniform(-change.shear, change.shear)
            view = _view(pixels, size, angle_deg, shear, scale / unit, rng)
            blur_px = rng.uniform(*change.blur_px)
            if blur_px > 0.3:
                view = cv2.GaussianBlur(view, (0, 0), blur_px)
            if change.gain is not None:
                view = cv2.convertScaleAbs(view, alpha=rng.uniform(*change.gain))  # clips
            light = np.multiply(view, source.light_of_255 / 255, dtype=np.float32)
            brightness = rng.uniform(*preset.brightness)
            colour = np.maximum(brightness + rng.uniform(-1, 1, 3) * preset.tint, 0)
            drawn.append(
                StreakLayer(
                    light=torch.from_numpy(light),
                    colour=torch.from_numpy(colour).float().view(3, 1, 1),
                    blended=bool(rng.random() < preset.blend_probability),
                    parameters={},
                )
            )
        return drawn


def _presets(kind: str) -> list[RainPreset]:
    """The presets that draw the layers of `kind` in turn; the first combines them."""
    if kind == "dense":
        return [_DENSE, _DENSE, _DENSE, _UPRIGHT]
    if kind in RENDERERS:
        alone = tuple(float(renderer == kind) for renderer in RENDERERS)
        return [replace(PRESETS["wide"], renderers=alone)]  # type: ignore[arg-type]
    return [get_preset(kind)]


def read_layers(folder: str | Path) -> list[np.ndarray]:
    """PNG files of 8 or 16 bits under `folder` as grey uint8 (H, W) each, sorted by name.

    Layers with opacity are laid over black.

    Raises:
        UserError: none there, or one that cannot be read.
    """
    paths = [p for p in list_images(Path(folder), recursive=True) if p.suffix.lower() == ".png"]
    if not paths:
        raise UserError(f"no PNG files of streak layers under {folder}")
    layers = []
    for path in paths:
        try:
            image = read_image(path)
        except ImageFileError as error:
            raise UserError(f"{path}: {error}") from error
        grey = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY)
        white = 255 if grey.dtype == np.uint8 else 65535
        if image.alpha is not None:
            grey = (grey * (image.alpha / white)).astype(grey.dtype)
        layers.append(grey if white == 255 else (grey // 256).astype(np.uint8))
    return layers


def _view(
    pixels: np.ndarray,
    size: int,
    angle_deg: float,
    shear: float,
    scale: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A random square window of `size` px of the rotated, sheared, scaled and flipped layer.

    A layer smaller than the window is repeated.
    """
    angle = math.radians(angle_deg)
    sine, cosine = math.sin(angle) / scale, math.cos(angle) / scale
    across, down = (1 if rng.random() < 0.5 else -1 for _ in range(2))
    # from window coordinates to layer coordinates
    turned = (
        (across * cosine, across * (cosine * shear - sine)),
        (down * sine, down * (sine * shear + cosine)),
    )
    matrix = np.empty((2, 3))
    for row, (x, y), side in zip(matrix, turned, pixels.shape[::-1], strict=True):
        reach = (abs(x) + abs(y)) * size / 2
        low = reach if 2 * reach < side else 0
        centre = rng.uniform(low, side - low) - 0.5
        # whole pixels: without rotation and scale, nothing is interpolated
        row[:] = x, y, round(centre - (x + y) * (size - 1) / 2)
    return cv2.warpAffine(
        pixels,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
