"""Streak renderers: one layer of streaks that share a direction (Sec. 3, Sec. 6 Datasets).

A layer is a NumPy float32 array (H, W), >= 0: the light that streaks add, before their colour
and brightness. All randomness comes from the generator given.
"""

from __future__ import annotations

import itertools
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

_BLOCK_ROWS = 1 << 14  # rows of streaks rasterised at a time; bounds memory


@dataclass(frozen=True)
class StreakGeometry:
    """Streaks to draw: arrays with one entry per streak, or numbers that all of them share.

    Attributes:
        x, y: centres, px.
        angle_deg: direction from the vertical; positive leans to the right going down.
        length_px, width_px: size; a width below one pixel dims the streak instead.
        intensity: brightness at the centre, >= 0.
        taper: 0 is constant brightness along the streak, 1 a parabola that is 0 at the ends.
        ripple: relative amplitude of a brightness oscillation along the streak.
        ripple_period_px, ripple_phase: of that oscillation, px and rad.
    """

    x: Values
    y: Values
    angle_deg: Values | float
    length_px: Values | float
    width_px: Values | float
    intensity: Values | float
    taper: Values | float
    ripple: Values | float = 0.0
    ripple_period_px: Values | float = 1.0
    ripple_phase: Values | float = 0.0


def rasterize(shape: tuple[int, int], streaks: StreakGeometry) -> Layer:
    """Draw anti-aliased streaks and add them.

    A pixel's share of a streak is the part of the pixel that the streak covers, measured along
    the streak and across it.

    Args:
        shape: height and width, px.
        streaks: may extend beyond the image.

    Returns:
        float32 (H, W), >= 0, not capped where streaks overlap.
    """
    streaks = StreakGeometry(*np.broadcast_arrays(*vars(streaks).values()))
    steep = np.abs(streaks.angle_deg) <= 45
    canvas = _rasterize_steep(shape, streaks, steep)
    if not steep.all():
        # flat streaks are steep in the transposed image
        canvas += _rasterize_steep(shape[::-1], streaks, ~steep, transpose=True).T
    return canvas.astype(np.float32)


def _rasterize_steep(
    shape: tuple[int, int],
    streaks: StreakGeometry,
    chosen: NDArray[np.bool_],
    transpose: bool = False,
) -> Values:
    height, width = shape
    s = StreakGeometry(**{name: values[chosen] for name, values in vars(streaks).items()})
    angle = np.deg2rad(s.angle_deg)
    x, y, sin, cos = s.x, s.y, np.sin(angle), np.cos(angle)
    if transpose:
        sign = np.where(sin < 0, -1.0, 1.0)
        x, y, sin, cos = y, x, cos * sign, sin * sign

    # rows that each streak crosses, and columns to each side of it within a row
    half_length, half_width = s.length_px / 2 + 0.5, s.width_px / 2 + 0.5
    row_reach = half_length * cos + half_width * np.abs(sin)
    column_reach = half_length * np.abs(sin) + half_width * cos
    first = np.clip(np.ceil(y - row_reach), 0, height).astype(np.int64)
    last = np.clip(np.floor(y + row_reach), -1, height - 1).astype(np.int64)
    beside = (x + column_reach <= 0) | (x - column_reach >= width - 1)
    rows = np.where(beside, 0, np.maximum(last - first + 1, 0))
    half_columns = np.floor(half_width / np.maximum(cos, 0.5) + 0.5).astype(np.int64)

    form = np.array(
        [
            cos,
            sin,
            half_length,
            half_width,
            np.minimum(s.length_px, 1),
            np.minimum(s.width_px, 1),
            s.taper / np.maximum(s.length_px / 2, 0.5) ** 2,
            s.intensity,
            s.ripple,
            1 / s.ripple_period_px,
            s.ripple_phase / (2 * np.pi),
        ],
        np.float32,
    )
    # pixels beside the image go to a border column, which is cropped
    canvas = np.zeros((height, width + 2))
    for reach in np.unique(half_columns[rows > 0]):
        group = np.flatnonzero((rows > 0) & (half_columns == reach))
        block = np.cumsum(rows[group]) // _BLOCK_ROWS
        for part in np.split(group, np.flatnonzero(np.diff(block)) + 1):
            of = np.repeat(part, rows[part])
            row = np.arange(len(of)) + np.repeat(
                first[part] - np.cumsum(rows[part]) + rows[part], rows[part]
            )
            below = row - y[of]
            centre = x[of] + below * (sin / cos)[of]
            _add_rows(canvas, row, centre, below.astype(np.float32), form[:, of], int(reach))
    return canvas[:, 1:-1]


def _add_rows(
    canvas: Values, row: NDArray[np.intp], centre: Values, below: Layer, form: Layer, reach: int
) -> None:
    """Add one row of a streak per entry, `reach` columns to each side of its centre."""
    cos, sin, half_length, half_width, longest, widest, taper, gain, ripple, frequency, phase = form
    on_axis = below / cos
    # one value of the oscillation per row: it hardly changes across a streak
    turns = on_axis * frequency + phase
    turns -= np.rint(turns)
    # a sine from parabolas, accurate to 6 %: faster, and identical on every processor
    gain = gain * (1 + ripple * (8 * turns * (1 - 2 * np.abs(turns))))

    nearest = np.rint(centre)
    aside = (nearest - centre).astype(np.float32)
    column = nearest.astype(np.int64)
    row_start = row * canvas.shape[1] + 1
    for offset in range(-reach, reach + 1):
        along = on_axis + (aside + offset) * sin
        across = (aside + offset) * cos
        light = np.maximum(np.minimum(half_width - np.abs(across), widest), 0)
        light *= np.maximum(np.minimum(half_length - np.abs(along), longest), 0)
        light *= np.maximum(1 - taper * along**2, 0) * gain
        index = row_start + np.clip(column + offset, -1, canvas.shape[1] - 2)
        np.add.at(canvas.reshape(-1), index, light.astype(np.float64))


@dataclass(frozen=True)
class LineParameters:
    """One layer of sharp lines along one direction (the paper's second method).

    Attributes:
        angle_deg, angle_spread_deg: direction from the vertical; its standard deviation.
        density: streaks per pixel.
        length_px, width_px: medians over the streaks.
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
        taper=p.taper,
    )
    return rasterize(shape, streaks)


@dataclass(frozen=True)
class DropParameters:
    """One layer of falling drops seen by a camera (the paper's first method).

    After Garg & Nayar 2006: drop sizes by Marshall-Palmer from the rain rate,
    terminal velocity by size, length and width by projection, and brightness that
    oscillates along the streak as the drop does.

    Attributes:
        angle_deg: direction from the vertical (wind).
        angle_spread_deg: its standard deviation (turbulence).
        rain_rate_mm_h: rain rate, mm/h.
        exposure_s: exposure time, s.
        focal_px: focal length in pixels of the image: with the same one, a larger image shows
            a wider view, with as many drops per pixel.
        near_m, far_m: depths between which drops are drawn; nearer ones are out of focus,
            farther ones belong to the veil.
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


# the law of terminal velocity does not hold for smaller ones
_SMALLEST_DROP_MM = 0.2
_LARGEST_DROP_MM = 6.0  # larger ones break up
_FAINTEST = 1 / 255  # least brightness of drops drawn one by one: a step of 8 bits
_DROP_TAPER = 0.3


def marshall_palmer_slope(rain_rate_mm_h: float) -> float:
    """Lambda of the drop size distribution N0 exp(-Lambda D), in 1/mm (Marshall & Palmer 1948)."""
    return float(4.1 * rain_rate_mm_h**-0.21)


def terminal_velocity_m_s(diameter_mm: Values) -> Values:
    """Speed of a falling drop of that diameter, m/s (Atlas et al. 1973)."""
    return 9.65 - 10.3 * np.exp(-0.6 * diameter_mm)


def render_drops(
    shape: tuple[int, int], parameters: DropParameters, rng: np.random.Generator
) -> Layer:
    """Render falling drops; see `DropParameters`. Returns float32 (H, W), the share of light.

    A drop of diameter D falling at speed v at depth z covers a pixel for D / (v t + D) of the
    exposure t, and w = D f / z of its width. Drops whose brightest pixel, contrast D / (v t + D)
    min(w, 1) min(length, 1), is a step of 8 bits or more are drawn one by one; their number
    follows from the rain rate and the view. The others, too many to draw and too faint to see,
    add their mean, the integral of N(D) contrast D^2 dD dz over their sizes and depths, which
    depends neither on the exposure nor on the focal length.
    """
    p = parameters
    height, width = shape
    sizes_mm = np.linspace(_SMALLEST_DROP_MM, _LARGEST_DROP_MM, 1001, dtype=np.float64)
    per_m3_mm = _MARSHALL_PALMER_N0 * np.exp(-marshall_palmer_slope(p.rain_rate_mm_h) * sizes_mm)

    # the view is a pyramid, with a margin for streaks that reach into the image
    visible_m = _visible_depth_m(sizes_mm, p)
    room_px = _streak_length_m(sizes_mm, p) * p.focal_px / p.near_m + 2
    volume_m3 = (height + 2 * room_px) * (width + 2 * room_px) / p.focal_px**2
    volume_m3 *= (visible_m**3 - p.near_m**3) / 3
    below = _cumulative(per_m3_mm * volume_m3, sizes_mm)
    count = rng.poisson(below[-1])

    diameter_mm = np.interp(rng.random(count) * below[-1], below, sizes_mm)
    depth_cubed = p.near_m**3 + rng.random(count) * (
        _visible_depth_m(diameter_mm, p) ** 3 - p.near_m**3
    )
    px_per_m = p.focal_px / np.cbrt(depth_cubed)
    room_px = _streak_length_m(diameter_mm, p) * p.focal_px / p.near_m + 2
    diameter_m = diameter_mm / 1000
    length_m = _streak_length_m(diameter_mm, p)

    # second mode of a liquid sphere (Rayleigh), the strongest of a falling drop
    angular = np.sqrt(8 * _SURFACE_TENSION_N_M / (_WATER_DENSITY_KG_M3 * (diameter_m / 2) ** 3))
    period_m = terminal_velocity_m_s(diameter_mm) * 2 * np.pi / angular
    streaks = StreakGeometry(
        x=rng.random(count) * (width + 2 * room_px) - room_px,
        y=rng.random(count) * (height + 2 * room_px) - room_px,
        angle_deg=np.clip(rng.normal(p.angle_deg, p.angle_spread_deg, count), -89, 89),
        length_px=length_m * px_per_m,
        width_px=diameter_m * px_per_m,
        intensity=p.contrast * diameter_m / length_m,
        taper=_DROP_TAPER,
        ripple=p.oscillation,
        ripple_period_px=np.maximum(period_m * px_per_m, 2.0),
        ripple_phase=rng.random(count) * 2 * np.pi,
    )
    unseen = per_m3_mm * (sizes_mm / 1000) ** 2 * (p.far_m - visible_m)
    # the mean over a streak of 1 - taper u^2, u from -1 to 1
    mean = p.contrast * (1 - _DROP_TAPER / 3) * _cumulative(unseen, sizes_mm)[-1]
    return rasterize(shape, streaks) + np.float32(mean)


def _streak_length_m(diameter_mm: Values, parameters: DropParameters) -> Values:
    return terminal_velocity_m_s(diameter_mm) * parameters.exposure_s + diameter_mm / 1000


def _visible_depth_m(diameter_mm: Values, parameters: DropParameters) -> Values:
    """Depth up to which drops are drawn one by one; see `render_drops`."""
    p = parameters
    diameter_m, length_m = diameter_mm / 1000, _streak_length_m(diameter_mm, p)
    intensity = p.contrast * diameter_m / length_m
    as_line = intensity * diameter_m * p.focal_px / _FAINTEST
    as_dot = np.sqrt(as_line * length_m * p.focal_px)  # shorter than a pixel as well
    depth = np.where(intensity >= _FAINTEST, np.minimum(as_line, as_dot), 0)
    return np.clip(depth, p.near_m, p.far_m)


def _cumulative(density: Values, at: Values) -> Values:
    """Integral of the density up to each point, by trapezoids."""
    steps = (density[1:] + density[:-1]) / 2 * np.diff(at)
    return np.concatenate([[0.0], np.cumsum(steps)])


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
    centre = np.array([float(margin)])
    streak = StreakGeometry(centre, centre, p.angle_deg, p.length_px, p.width_px, 1.0, taper=0.5)
    kernel = rasterize((size, size), streak)
    padded = (_fast_size(height), _fast_size(width))
    # in float64, see `rain.grid`
    spectrum = np.fft.rfft2(grains.astype(np.float64), padded)
    spectrum *= np.fft.rfft2(kernel.astype(np.float64), padded)
    blurred = np.fft.irfft2(spectrum, padded)
    # the circular convolution equals the linear one from size - 1 on
    layer = blurred[size - 1 : size - 1 + shape[0], size - 1 : size - 1 + shape[1]]
    brightest = max(float(np.quantile(layer, 0.995)), 1e-6)
    return (np.maximum(layer, 0) / brightest).astype(np.float32)


def _fast_size(size: int) -> int:
    """The least number not below `size` whose only prime factors are 2, 3 and 5.

    As `scipy.fft.next_fast_len(size, real=True)`; the package does not need SciPy otherwise.
    """
    powers = range(size.bit_length() + 1)
    products = (2**i * 3**j * 5**k for i, j, k in itertools.product(powers, repeat=3))
    return min(int(product) for product in products if product >= size)
