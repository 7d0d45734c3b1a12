"""Presets of rain: ranges of the parameters of streaks and accumulation (Sec. 3, Sec. 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, get_type_hints

from jorder_preproc.errors import UserError

Range = tuple[float, float]

RENDERERS = ("lines", "drops", "noise")


class _Preset:
    """A dataclass that checks its numbers and ranges against the bounds in their annotations."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            # NaN fails every comparison, infinity the bounds
            for low, high in getattr(hint, "__metadata__", ()):
                if hint.__origin__ is float:
                    if not low <= value <= high:
                        raise ValueError(f"{name} needs a number from {low} to {high}, got {value}")
                elif len(value) != 2 or not low <= value[0] <= value[1] <= high:
                    raise ValueError(f"{name} needs {low} <= low <= high <= {high}, got {value}")


@dataclass(frozen=True)
class AccumulationPreset(_Preset):
    """Ranges for the veil of distant streaks under an overcast sky (Sec. 5.2).

    Attributes:
        transmission: alpha; for a map, its value at the farthest point.
        depth_probability: probability that alpha is a map that falls with a synthetic depth.
        gamma: exponent that darkens the background before the veil is added.
        atmospheric_light: A, mean over the channels.
        light_tint: largest difference of a channel of A from that mean.
    """

    transmission: Annotated[Range, (0.01, 1.0)] = (0.5, 1.0)
    depth_probability: Annotated[float, (0.0, 1.0)] = 0.5
    gamma: Annotated[Range, (0.1, 10.0)] = (1.0, 1.5)
    atmospheric_light: Annotated[Range, (0.0, 1.0)] = (0.8, 1.0)
    light_tint: Annotated[float, (0.0, 1.0)] = 0.03


@dataclass(frozen=True)
class RainPreset(_Preset):
    """Ranges for the rain on one image. Lengths are in pixels of the image given.

    Attributes:
        layers: number of streak layers, each with a direction of its own.
        renderers: weights of lines, drops and noise (see `rain.streaks`).
        angle_deg: mean direction of all layers, from the vertical.
        layer_angle_deg: largest difference of a layer's direction from the mean.
        angle_spread_deg: standard deviation among the streaks of a layer.
        density: streaks per pixel of `lines`, drawn log-uniformly.
        length_px, width_px, variation, taper: see `streaks.LineParameters`.
        brightness: of a layer, relative to white.
        tint: largest difference of a colour channel from that brightness.
        blur_px: standard deviation of a Gaussian blur of the layer (out of focus).
        blend_probability: probability that a layer covers what is behind it, as an opaque
            drop does, instead of adding its light.
        noise_density: share of pixels that pass the threshold of `noise`.
        rain_rate_mm_h, exposure_s, focal_px, near_m, far_m, contrast, oscillation: see
            `streaks.DropParameters`; the rate, the exposure, the focal length and the
            contrast are drawn log-uniformly.
        accumulation: the veil, or None.
    """

    layers: Annotated[tuple[int, int], (0, 100)] = (1, 1)
    renderers: tuple[float, float, float] = (1.0, 0.0, 0.0)
    angle_deg: Annotated[Range, (-85.0, 85.0)] = (-30.0, 30.0)
    layer_angle_deg: Annotated[float, (0.0, 85.0)] = 0.0
    angle_spread_deg: Annotated[Range, (0.0, 45.0)] = (0.0, 3.0)
    density: Annotated[Range, (1e-7, 0.1)] = (5e-4, 1e-3)
    length_px: Annotated[Range, (1.0, 1000.0)] = (15.0, 40.0)
    width_px: Annotated[Range, (0.1, 50.0)] = (0.6, 1.4)
    variation: Annotated[Range, (0.0, 2.0)] = (0.1, 0.4)
    taper: Annotated[Range, (0.0, 1.0)] = (0.0, 1.0)
    brightness: Annotated[Range, (0.0, 2.0)] = (0.3, 0.8)
    tint: Annotated[float, (0.0, 1.0)] = 0.02
    blur_px: Annotated[Range, (0.0, 10.0)] = (0.0, 0.5)
    blend_probability: Annotated[float, (0.0, 1.0)] = 0.4
    noise_density: Annotated[Range, (1e-6, 1.0)] = (0.02, 0.15)
    rain_rate_mm_h: Annotated[Range, (0.01, 1000.0)] = (5.0, 100.0)
    exposure_s: Annotated[Range, (1e-6, 1.0)] = (1 / 500, 1 / 60)
    focal_px: Annotated[Range, (10.0, 100_000.0)] = (500.0, 900.0)
    near_m: Annotated[Range, (0.1, 100.0)] = (0.5, 1.0)
    far_m: Annotated[Range, (0.1, 100.0)] = (2.0, 3.5)
    # bright sky in an exposure for the ground
    contrast: Annotated[Range, (0.01, 1000.0)] = (6.0, 20.0)
    oscillation: Annotated[Range, (0.0, 1.0)] = (0.0, 0.6)
    accumulation: AccumulationPreset | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(isinstance(count, int) for count in self.layers):
            raise ValueError(f"layers needs two whole numbers, got {self.layers}")
        weights = self.renderers
        if len(weights) != 3 or not (min(weights) >= 0 and 0 < sum(weights) < math.inf):
            raise ValueError(
                f"renderers needs three weights >= 0 for {', '.join(RENDERERS)}, "
                f"not all 0, got {weights}"
            )
        if self.near_m[1] >= self.far_m[0]:
            raise ValueError(
                f"far_m must begin beyond near_m, got near_m {self.near_m} and far_m {self.far_m}"
            )
        if not isinstance(self.accumulation, AccumulationPreset | None):
            raise ValueError(
                f"accumulation needs an AccumulationPreset or None, got {self.accumulation!r}"
            )


def _severity(level: int) -> RainPreset:
    """Severity 1-5 in ImageNet-C's sense: more and brighter streaks."""
    step = level - 1
    return RainPreset(
        layers=(level, level),
        renderers=(0.8, 0.2, 0.0),
        layer_angle_deg=15.0,
        density=tuple(d * (1.0, 1.3, 1.6, 2.0, 2.4)[step] for d in (5e-4, 7e-4)),  # type: ignore[arg-type]
        length_px=(15.0, 35.0),
        width_px=(0.8, 1.3),
        brightness=((0.4, 0.5), (0.4, 0.5), (0.47, 0.57), (0.55, 0.65), (0.65, 0.75))[step],
        rain_rate_mm_h=((8.0, 12.0), (20.0, 30.0), (30.0, 45.0), (50.0, 70.0), (80.0, 100.0))[step],
    )


_HEAVY = RainPreset(
    layers=(4, 5),
    renderers=(0.85, 0.15, 0.0),
    angle_deg=(-25.0, 25.0),
    layer_angle_deg=30.0,
    angle_spread_deg=(0.5, 3.0),
    density=(1.3e-3, 2.8e-3),
    length_px=(15.0, 45.0),
    width_px=(0.8, 1.6),
    brightness=(0.45, 0.85),
    rain_rate_mm_h=(50.0, 150.0),
    blend_probability=0.3,
)

PRESETS = MappingProxyType(
    {
        # one direction, like Rain100L
        "light": RainPreset(
            density=(8e-4, 1.8e-3),
            width_px=(0.6, 1.3),
            brightness=(0.5, 0.85),
            renderers=(0.8, 0.2, 0.0),
        ),
        # five directions, like Rain100H
        "heavy": _HEAVY,
        # motion-blurred noise, like Rain800
        "rain800": RainPreset(
            layers=(1, 2),
            renderers=(0.0, 0.0, 1.0),
            angle_deg=(-45.0, 45.0),
            layer_angle_deg=5.0,
            length_px=(8.0, 40.0),
            width_px=(0.5, 1.5),
            brightness=(0.2, 0.6),
            noise_density=(0.01, 0.1),
        ),
        # the veil alone
        "accumulation": RainPreset(layers=(0, 0), accumulation=AccumulationPreset()),
        "storm": replace(_HEAVY, accumulation=AccumulationPreset()),
        **{f"severity_{level}": _severity(level) for level in range(1, 6)},
        # everything between barely visible and dense, for training
        "wide": RainPreset(
            layers=(1, 5),
            renderers=(0.62, 0.18, 0.2),
            angle_deg=(-60.0, 60.0),
            layer_angle_deg=25.0,
            angle_spread_deg=(0.0, 6.0),
            density=(1.5e-4, 2.5e-3),
            length_px=(5.0, 80.0),
            width_px=(0.4, 6.0),
            variation=(0.0, 0.6),
            brightness=(0.12, 1.0),
            tint=0.06,
            blur_px=(0.0, 0.9),
            noise_density=(0.005, 0.2),
            rain_rate_mm_h=(2.0, 150.0),
            exposure_s=(1 / 1000, 1 / 30),
        ),
    }
)


def get_preset(preset: str | RainPreset) -> RainPreset:
    """The preset of that name; a `RainPreset` is returned as it is.

    Raises:
        ValueError: no such preset.
        TypeError: neither a name nor a preset.
    """
    if isinstance(preset, RainPreset):
        return preset
    if not isinstance(preset, str):
        raise TypeError(f"preset must be a name or a RainPreset, got {type(preset).__name__}")
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[preset]
