"""Streak renderers: one layer of streaks that share a direction (Sec. 3, Sec. 6 Datasets).

A layer is a NumPy float32 array (H, W), >= 0: the share of light a streak adds,
before its colour and brightness. All randomness comes from the generator given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Layer = NDArray[np.float32]
Values = NDArray[np.float64]

# Marshall & Palmer 1948: N(D) = N0 exp(-Lambda D), D in mm, N in 1 / (m^3 mm)
_MARSHALL_PALMER_N0 = 8000.0
# Water at 20 degrees C
_SURFACE_TENSION_N_M = 0.0728
_WATER_DENSITY_KG_M3 = 1000.0


@dataclass(frozen=True)
class StreakGeometry:
    """Streaks to draw, one entry per streak.

    Attributes:
        x, y: centres, px.
        angle_deg: direction from the vertical; positive leans to the right going down.
        length_px, width_px: size; widths below one pixel dim the streak instead.
        intensity: brightness in the middle, >= 0.
        taper: 0 keeps the brightness to the ends, 1 lets it fade like a parabola.
        ripple: relative amplitude of a brightness oscillation along the streak.
        ripple_period_px, ripple_phase: of that oscillation, px and rad.
    """

    x: Values
    y: Values
    angle_deg: Values
    length_px: Values
    width_px: Values
    intensity: Values
    taper: Values
    ripple: Values
    ripple_period_px: Values
    ripple_phase: Values


def rasterize(shape: tuple[int, int], streaks: StreakGeometry) -> Layer:
    """Draw anti-aliased streaks and add them up.

    A pixel takes the share of its area that the streak covers, seen along the
    normal of the streak.

    Args:
        shape: height and width, px.
        streaks: what to draw; parts outside the image are cut off.

    Returns:
        float32 (H, W), >= 0, not capped where streaks overlap.
    """
    steep = np.abs(streaks.angle_deg) <= 45
    canvas = _rasterize_steep(shape, streaks, steep)
    if not steep.all():
        # a flat streak is a steep one of the transposed image
        canvas += _rasterize_steep(shape[::-1], streaks, ~steep, transpose=True).T
    return canvas


def _rasterize_steep(
    shape: tuple[int, int], streaks: StreakGeometry, chosen: NDArray, transpose: bool = False
) -> Layer:
    height, width = shape
    canvas = np.zeros(height * width, np.float32)
    if not chosen.any():
        return canvas.reshape(shape)
    angle = np.deg2rad(streaks.angle_deg[chosen])
    x, y = streaks.x[chosen], streaks.y[chosen]
    sin, cos = np.sin(angle), np.cos(angle)
    if transpose:
        sign = np.where(sin < 0, -1.0, 1.0)
        x, y, sin, cos = y, x, cos * sign, sin * sign
    length, thickness = streaks.length_px[chosen], streaks.width_px[chosen]

    # rows each streak crosses; one entry per (streak, row) from here on
    reach = (length / 2 + 0.5) * cos + (thickness / 2 + 0.5) * np.abs(sin)
    first = np.clip(np.ceil(y - reach), 0, height).astype(np.int64)
    last = np.clip(np.floor(y + reach), -1, height - 1).astype(np.int64)
    rows_of = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(x)), rows_of)
    starts = np.cumsum(rows_of) - rows_of
    row = np.arange(len(index)) - starts[index] + first[index]

    sin, cos = sin[index].astype(np.float32), cos[index].astype(np.float32)
    dy = (row - y[index]).astype(np.float32)
    centre = x[index] + dy * (sin / cos)
    half_columns = int(np.ceil(np.max((thickness / 2 + 0.5) * np.sqrt(2), initial=0)))
    nearest = np.rint(centre).astype(np.int64)
    column = nearest[:, None] + np.arange(-half_columns, half_columns + 1)
    dx = (column - x[index][:, None]).astype(np.float32)

    along = dx * sin[:, None] + dy[:, None] * cos[:, None]
    across = dx * cos[:, None] - dy[:, None] * sin[:, None]
    half_width = (thickness[index] / 2 + 0.5).astype(np.float32)[:, None]
    half_length = (length[index] / 2).astype(np.float32)[:, None]
    peak = np.minimum(thickness[index], 1).astype(np.float32)[:, None]
    light = np.clip(half_width - np.abs(across), 0, peak)
    light *= np.clip(half_length + 0.5 - np.abs(along), 0, 1)

    taper = streaks.taper[chosen][index].astype(np.float32)[:, None]
    light *= np.maximum(1 - taper * (along / np.maximum(half_length, 0.5)) ** 2, 0)
    ripple = streaks.ripple[chosen]
    if ripple.any():
        frequency = (2 * np.pi / streaks.ripple_period_px[chosen])[index].astype(np.float32)
        phase = streaks.ripple_phase[chosen][index].astype(np.float32)
        wave = np.sin(frequency[:, None] * along + phase[:, None])
        light *= 1 + ripple[index].astype(np.float32)[:, None] * wave
    light *= streaks.intensity[chosen][index].astype(np.float32)[:, None]

    inside = (column >= 0) & (column < width)
    flat = np.where(inside, row[:, None] * width + column, 0)
    weights = np.where(inside, light, 0)
    canvas += np.bincount(flat.ravel(), weights.ravel(), height * width).astype(np.float32)
    return canvas.reshape(shape)


@dataclass(frozen=True)
class LineParameters:
    """One layer of sharp lines along one direction (the paper's second way).

    Attributes:
        angle_deg, angle_spread_deg: direction from the vertical; its standard deviation.
        density: streaks per pixel.
        length_px, width_px: medians; single streaks vary by `variation`.
        variation: standard deviation of the logarithm of length, width and brightness.
        taper: see `StreakGeometry`.
    """

    angle_deg: float
    angle_spread_deg: float
    density: float
    length_px: float
    width_px: float
    variation: float
    taper: float


def render_lines(
    shape: tuple[int, int], parameters: LineParameters, rng: np.random.Generator
) -> Layer:
    """Render sharp lines; see `LineParameters`. Returns float32 (H, W), about 1 on a streak."""
    p = parameters
    # streaks may start outside the image
    margin = p.length_px
    height, width = shape[0] + 2 * margin, shape[1] + 2 * margin
    count = rng.poisson(p.density * height * width)

    def vary(median: float, low: float, high: float) -> Values:
        spread = np.clip(rng.normal(0, p.variation, count), -2 * p.variation, 2 * p.variation)
        return np.clip(median * np.exp(spread), low, high)

    streaks = StreakGeometry(
        x=rng.uniform(-margin, shape[1] + margin, count),
        y=rng.uniform(-margin, shape[0] + margin, count),
        angle_deg=np.clip(rng.normal(p.angle_deg, p.angle_spread_deg, count), -89, 89),
        length_px=vary(p.length_px, 1, np.inf),
        width_px=vary(p.width_px, 0.1, np.inf),
        intensity=vary(1.0, 0, 2),
        taper=np.full(count, p.taper),
        ripple=np.zeros(count),
        ripple_period_px=np.ones(count),
        ripple_phase=np.zeros(count),
    )
    return rasterize(shape, streaks)


@dataclass(frozen=True)
class DropParameters:
    """One layer of falling drops seen by a camera (the paper's first way).

    After Garg & Nayar 2006: drop sizes by Marshall-Palmer from the rain rate,
    terminal velocity by size, length and width by projection, and brightness that
    oscillates along the streak as the drop does.

    Attributes:
        angle_deg: direction from the vertical (wind).
        angle_spread_deg: standard deviation of it (turbulence).
        rain_rate_mm_h: rain rate, mm/h.
        exposure_s: exposure time, s.
        focal_px: focal length in pixels.
        near_m, far_m: depths between which drops are drawn; those nearer are out of
            focus, those farther belong to the veil.
        contrast: brightness of a drop that stays on a pixel for the whole exposure,
            relative to white; above 1 for drops that gather light from the sky.
        oscillation: relative amplitude of the brightness oscillation.
    """

    angle_deg: float
    angle_spread_deg: float
    rain_rate_mm_h: float
    exposure_s: float
    focal_px: float
    near_m: float
    far_m: float
    contrast: float
    oscillation: float


_SMALLEST_DROP_MM = 0.8  # smaller ones are narrower than a pixel at any depth drawn here
_LARGEST_DROP_MM = 6.0  # larger ones break up
_MOST_DROPS = 6000  # bounds memory and time in a cloudburst


def marshall_palmer_slope(rain_rate_mm_h: float) -> float:
    """Lambda of the drop size distribution N0 exp(-Lambda D), in 1/mm (Marshall & Palmer 1948)."""
    return float(4.1 * rain_rate_mm_h**-0.21)


def terminal_velocity_m_s(diameter_mm: Values) -> Values:
    """Speed of a falling drop of that diameter, m/s (Atlas et al. 1973)."""
    return 9.65 - 10.3 * np.exp(-0.6 * diameter_mm)


def render_drops(
    shape: tuple[int, int], parameters: DropParameters, rng: np.random.Generator
) -> Layer:
    """Render falling drops; see `DropParameters`. Returns float32 (H, W), the share of light."""
    p = parameters
    height, width = shape
    slope = marshall_palmer_slope(p.rain_rate_mm_h)
    smallest, largest = np.exp(-slope * _SMALLEST_DROP_MM), np.exp(-slope * _LARGEST_DROP_MM)
    drops_per_m3 = _MARSHALL_PALMER_N0 / slope * (smallest - largest)
    # the view is a pyramid, here with room for streaks that start outside
    longest_m = terminal_velocity_m_s(np.array(_LARGEST_DROP_MM)) * p.exposure_s
    margin = float(longest_m) * p.focal_px / p.near_m / 2
    view_px = (height + 2 * margin) * (width + 2 * margin)
    volume_m3 = view_px / p.focal_px**2 * (p.far_m**3 - p.near_m**3) / 3
    count = min(int(rng.poisson(drops_per_m3 * volume_m3)), _MOST_DROPS)

    # inverse transforms of exp(-slope D) and of depth^2
    diameter_mm = -np.log(smallest - rng.random(count) * (smallest - largest)) / slope
    depth_m = np.cbrt(p.near_m**3 + rng.random(count) * (p.far_m**3 - p.near_m**3))
    speed_m_s = terminal_velocity_m_s(diameter_mm)
    fall_m = speed_m_s * p.exposure_s
    diameter_m = diameter_mm / 1000
    length_px = (fall_m + diameter_m) * p.focal_px / depth_m
    width_px = diameter_m * p.focal_px / depth_m

    # second mode of a liquid sphere (Rayleigh), the strongest of a falling drop
    angular = np.sqrt(8 * _SURFACE_TENSION_N_M / (_WATER_DENSITY_KG_M3 * (diameter_m / 2) ** 3))
    period_m = speed_m_s * 2 * np.pi / angular
    streaks = StreakGeometry(
        x=rng.uniform(-margin, width + margin, count),
        y=rng.uniform(-margin, height + margin, count),
        angle_deg=np.clip(rng.normal(p.angle_deg, p.angle_spread_deg, count), -89, 89),
        length_px=np.minimum(length_px, 4.0 * max(shape)),
        width_px=np.minimum(width_px, 12.0),
        # the drop covers a pixel for diameter / speed out of the exposure
        intensity=p.contrast * diameter_m / (fall_m + diameter_m),
        taper=np.full(count, 0.3),
        ripple=np.full(count, p.oscillation),
        ripple_period_px=np.maximum(period_m * p.focal_px / depth_m, 2.0),
        ripple_phase=rng.uniform(0, 2 * np.pi, count),
    )
    return rasterize(shape, streaks)


@dataclass(frozen=True)
class NoiseParameters:
    """One layer of thresholded noise under motion blur (how Rain800 was made).

    Attributes:
        angle_deg: direction of the blur from the vertical.
        density: share of pixels that pass the threshold.
        length_px, width_px: extent of the blur along and across.
    """

    angle_deg: float
    density: float
    length_px: float
    width_px: float


def render_noise(
    shape: tuple[int, int], parameters: NoiseParameters, rng: np.random.Generator
) -> Layer:
    """Render motion-blurred noise; see `NoiseParameters`.

    Returns:
        float32 (H, W), >= 0, with its 99.5 percentile at 1.
    """
    p = parameters
    margin = int(np.ceil(p.length_px / 2)) + 2
    height, width = shape[0] + 2 * margin, shape[1] + 2 * margin
    noise = rng.random((height, width), dtype=np.float32)
    grains = np.maximum(noise - (1 - p.density), 0) / p.density

    size = 2 * margin + 1
    ones, zeros = np.ones(1), np.zeros(1)
    kernel = rasterize(
        (size, size),
        StreakGeometry(
            x=ones * margin,
            y=ones * margin,
            angle_deg=ones * p.angle_deg,
            length_px=ones * p.length_px,
            width_px=ones * p.width_px,
            intensity=ones,
            taper=ones * 0.5,
            ripple=zeros,
            ripple_period_px=ones,
            ripple_phase=zeros,
        ),
    )
    padded = (_fast_size(height), _fast_size(width))
    spectrum = np.fft.rfft2(grains, padded) * np.fft.rfft2(kernel, padded)
    blurred = np.fft.irfft2(spectrum, padded)
    # the linear convolution is exact from size - 1 on; what wraps around lies before it
    layer = blurred[size - 1 : size - 1 + shape[0], size - 1 : size - 1 + shape[1]]
    brightest = max(float(np.quantile(layer, 0.995)), 1e-6)
    return (np.maximum(layer, 0) / brightest).astype(np.float32)


def _fast_size(size: int) -> int:
    """The smallest number not below `size` whose only prime factors are 2, 3 and 5."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
