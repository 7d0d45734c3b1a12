"""Synthesize rain on an image, with every label of Eq. 6: O, B, S, R, alpha and A."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jorder_preproc.images import check_image
from jorder_preproc.rain import streaks
from jorder_preproc.rain.accumulation import Accumulation, draw_accumulation
from jorder_preproc.rain.compose import compose
from jorder_preproc.rain.grid import to_grid
from jorder_preproc.rain.identity import pixel_digest, rain_generator
from jorder_preproc.rain.presets import RENDERERS, RainPreset, Range, get_preset

VISIBLE = 2 / 255
"""R is 1 where streaks change a channel by more than this: two steps of 8 bits."""


@dataclass(frozen=True)
class StreakLayer:
    """One layer of streaks, independent of the image it is put on.

    Attributes:
        light: float (H, W), >= 0, about 1 on a streak.
        colour: brightness per channel, float (3, 1, 1).
        blended: the streaks cover what is behind them instead of adding to it.
        parameters: random parameters, as plain numbers and text.
    """

    light: Tensor
    colour: Tensor
    blended: bool
    parameters: dict[str, Any]


@dataclass(frozen=True)
class RainSample:
    """An image with rain and all its labels; Eq. 3 holds exactly.

    Attributes:
        rainy: O, float (3, H, W), in [0, 1].
        background: the clean image as given, float (3, H, W), in [0, 1].
        darkened: B of Eq. 3: the background under the overcast sky (Sec. 5.2);
            the same as `background` without accumulation.
        streak_map: S, float (3, H, W), >= 0, the sum of all layers.
        region_mask: R, float (1, H, W), 0 or 1.
        transmission: alpha, float (1, H, W), in (0, 1].
        atmospheric_light: A, float (3, 1, 1), in [0, 1].
        parameters: random parameters, as plain numbers and text.
    """

    rainy: Tensor
    background: Tensor
    darkened: Tensor
    streak_map: Tensor
    region_mask: Tensor
    transmission: Tensor
    atmospheric_light: Tensor
    parameters: dict[str, Any]


def draw_layer(
    shape: tuple[int, int],
    preset: RainPreset,
    rng: np.random.Generator,
    mean_angle_deg: float | None = None,
) -> StreakLayer:
    """Draw one streak layer.

    Args:
        shape: height and width, px.
        preset: ranges to draw from.
        rng: source of all randomness.
        mean_angle_deg: mean direction of the layers; None draws it as well.
    """
    mean = rng.uniform(*preset.angle_deg) if mean_angle_deg is None else mean_angle_deg
    offset = rng.uniform(-1, 1) * preset.layer_angle_deg
    angle = float(np.clip(mean + offset, -85, 85))
    weights = np.array(preset.renderers) / sum(preset.renderers)
    renderer = RENDERERS[rng.choice(3, p=weights)]
    parameters: streaks.LineParameters | streaks.DropParameters | streaks.NoiseParameters
    if renderer == "lines":
        parameters = streaks.LineParameters(
            angle_deg=angle,
            angle_spread_deg=rng.uniform(*preset.angle_spread_deg),
            density=_log_uniform(rng, preset.density),
            length_px=_log_uniform(rng, preset.length_px),
            width_px=_log_uniform(rng, preset.width_px),
            variation=rng.uniform(*preset.variation),
            taper=rng.uniform(*preset.taper),
        )
        light = streaks.render_lines(shape, parameters, rng)
    elif renderer == "drops":
        parameters = streaks.DropParameters(
            angle_deg=angle,
            angle_spread_deg=rng.uniform(*preset.angle_spread_deg),
            rain_rate_mm_h=_log_uniform(rng, preset.rain_rate_mm_h),
            exposure_s=_log_uniform(rng, preset.exposure_s),
            focal_px=_log_uniform(rng, preset.focal_px),
            near_m=rng.uniform(*preset.near_m),
            far_m=rng.uniform(*preset.far_m),
            contrast=_log_uniform(rng, preset.contrast),
            oscillation=rng.uniform(*preset.oscillation),
        )
        light = streaks.render_drops(shape, parameters, rng)
    else:
        parameters = streaks.NoiseParameters(
            angle_deg=angle,
            density=_log_uniform(rng, preset.noise_density),
            length_px=_log_uniform(rng, preset.length_px),
            width_px=_log_uniform(rng, preset.width_px),
        )
        light = streaks.render_noise(shape, parameters, rng)

    blur_px = rng.uniform(*preset.blur_px)
    brightness = rng.uniform(*preset.brightness)
    colour = np.maximum(brightness + rng.uniform(-1, 1, 3) * preset.tint, 0)
    blended = bool(rng.random() < preset.blend_probability)
    return StreakLayer(
        light=to_grid(torch.from_numpy(_blur(light, blur_px))),
        colour=torch.from_numpy(colour).float().view(3, 1, 1),
        blended=blended,
        parameters={
            "renderer": renderer,
            **{name: float(value) for name, value in asdict(parameters).items()},
            "blur_px": blur_px,
            "brightness": brightness,
            "colour": colour.tolist(),
            "blended": blended,
        },
    )


def add_rain(
    background: Tensor,
    layers: Sequence[StreakLayer],
    accumulation: Accumulation | None = None,
) -> RainSample:
    """Compose drawn rain onto an image (Eq. 3).

    S of an added layer is its light times its colour. A blended layer moves the background and
    the layers before it towards white by that share. Both stop at white, as a sensor does, so
    that B + S is in [0, 1] and S can be removed again.

    Args:
        background: clean image, float (3, H, W), in [0, 1], on any device.
        layers: streak layers of the same height and width, on any device; may be empty.
        accumulation: the veil, or None.
    """
    if accumulation is None:
        accumulation = Accumulation(torch.ones(1, *background.shape[1:]), torch.ones(3, 1, 1), 1.0)
    device = background.device
    darkened = background
    if accumulation.gamma != 1:
        darkened = to_grid(background.double() ** accumulation.gamma).to(background.dtype)
    maps, behind = [], darkened
    for layer in layers:
        light, headroom = (layer.light * layer.colour).to(device), 1 - behind
        maps.append(
            light.clamp(max=1) * headroom if layer.blended else torch.minimum(light, headroom)
        )
        behind = behind + maps[-1]
    streak_map = sum(maps, torch.zeros_like(background))
    region_mask = (streak_map.amax(0, keepdim=True) > VISIBLE).to(background.dtype)
    transmission = accumulation.transmission.to(device)
    atmospheric_light = accumulation.atmospheric_light.to(device)
    rainy = compose(darkened, maps, region_mask, transmission, atmospheric_light)
    return RainSample(
        rainy=rainy.clamp(0, 1),  # rounding alone
        background=background,
        darkened=darkened,
        streak_map=streak_map,
        region_mask=region_mask,
        transmission=transmission,
        atmospheric_light=atmospheric_light,
        parameters={
            "layers": [layer.parameters for layer in layers],
            "gamma": accumulation.gamma,
            "transmission_mean": round(float(accumulation.transmission.double().mean()), 6),
            "atmospheric_light": accumulation.atmospheric_light.flatten().tolist(),
        },
    )


def synthesize_rain(
    background: Tensor,
    preset: str | RainPreset = "heavy",
    seed: int = 0,
    image_id: str | int | None = None,
) -> RainSample:
    """Put rain on a clean image (Eq. 3). The form for images of any type is `rain_image`.

    The rain is a function of the seed and the image id alone: the same in any batch, worker
    and process, whatever decoded the image; see `jorder_preproc.rain.identity`.

    Args:
        background: float (3, H, W), in [0, 1], on any device; the labels are on it, too.
        preset: a name in `PRESETS`, or a preset of your own.
        seed: >= 0.
        image_id: the image's path below the data root with `/`, as `image_name` returns it,
            or a number. None takes a digest of its pixels, rounded to 8 bits.

    Raises:
        TypeError: background is not a float tensor, or an image id that is neither text nor
            a whole number.
        ValueError: unknown preset, negative seed, or not (3, H, W) in [0, 1].
    """
    check_image(background, batch=False)
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    preset = get_preset(preset)
    rng = rain_generator(seed, pixel_digest(background) if image_id is None else image_id)
    shape = (background.shape[1], background.shape[2])
    count = int(rng.integers(preset.layers[0], preset.layers[1] + 1))
    mean_angle_deg = rng.uniform(*preset.angle_deg)
    layers = [draw_layer(shape, preset, rng, mean_angle_deg) for _ in range(count)]
    accumulation = None
    if preset.accumulation is not None:
        accumulation = draw_accumulation(shape, preset.accumulation, rng)
    return add_rain(background, layers, accumulation)


def _log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _blur(layer: streaks.Layer, sigma: float) -> streaks.Layer:
    """Gaussian blur with zero padding; a sigma too small to be seen is skipped."""
    if sigma < 0.2:
        return layer
    radius = math.ceil(2.5 * sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(layer, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)])
        size = layer.shape[axis]
        moved = [padded.take(range(k, k + size), axis) for k in range(2 * radius + 1)]
        layer = sum(tap * part for tap, part in zip(taps, moved, strict=True))
    return layer
