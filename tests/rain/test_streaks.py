import numpy as np
import pytest
from scipy import ndimage, signal

from jorder_preproc.rain import streaks as s


def geometry(**values):
    defaults = dict(
        x=20.0, y=15.0, angle_deg=0.0, length_px=12.0, width_px=2.0, intensity=1.0,
        taper=0.0, ripple=0.0, ripple_period_px=1.0, ripple_phase=0.0,
    )  # fmt: skip
    return s.StreakGeometry(**{k: np.atleast_1d(float(v)) for k, v in (defaults | values).items()})


def covered_area(shape, streak, samples=8):
    """Share of each pixel inside the rotated rectangle, by counting sample points."""
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    angle = np.deg2rad(streak.angle_deg[0])
    image = np.zeros(shape)
    for row, column in np.ndindex(shape):
        hits = 0
        for dy in offsets:
            for dx in offsets:
                px, py = column + dx - streak.x[0], row + dy - streak.y[0]
                along = px * np.sin(angle) + py * np.cos(angle)
                across = px * np.cos(angle) - py * np.sin(angle)
                hits += abs(along) <= streak.length_px[0] / 2 and abs(across) <= (
                    streak.width_px[0] / 2
                )
        image[row, column] = hits / samples**2
    return image


@pytest.mark.parametrize("angle_deg", [0.0, 20.0, -40.0, 50.0, -75.0])
def test_streak_covers_its_rectangle(angle_deg):
    streak = geometry(angle_deg=angle_deg)
    actual = s.rasterize((30, 40), streak)
    expected = covered_area((30, 40), streak)
    # the raster takes distances along the normal, so corners may differ, the light may not
    assert np.abs(actual - expected).max() < 0.35
    assert np.abs(actual - expected).mean() < 0.004
    assert actual.sum() == pytest.approx(24.0, rel=0.03)


@pytest.mark.parametrize("width_px", [0.2, 0.5, 1.0, 1.7])
def test_light_grows_with_the_width_also_below_a_pixel(width_px):
    light = s.rasterize((60, 60), geometry(x=30.0, y=30.0, width_px=width_px, length_px=30.0)).sum()
    assert light == pytest.approx(30 * width_px, rel=0.02)


def test_parts_outside_are_cut_off():
    inside = s.rasterize((60, 60), geometry(x=30.0, y=30.0, angle_deg=30.0))
    cut = s.rasterize((20, 25), geometry(x=10.0, y=2.0, angle_deg=30.0))
    np.testing.assert_allclose(cut, inside[28:48, 20:45], atol=1e-6)


def test_positive_angles_lean_to_the_right_going_down():
    image = s.rasterize((41, 41), geometry(x=20.0, y=20.0, angle_deg=30.0, length_px=30.0))
    top = ndimage.center_of_mass(image[:20])[1]
    bottom = ndimage.center_of_mass(image[21:])[1]
    assert bottom - top == pytest.approx(2 * 7.5 * np.tan(np.pi / 6) * np.cos(np.pi / 6), abs=1.5)
    assert bottom > top


def test_overlapping_streaks_add_up():
    one = s.rasterize((30, 40), geometry())
    fields = {k: np.repeat(v, 2) for k, v in vars(geometry()).items()}
    np.testing.assert_allclose(s.rasterize((30, 40), s.StreakGeometry(**fields)), 2 * one)


def test_terminal_velocity_and_drop_sizes_by_hand():
    # 9.65 - 10.3 exp(-0.6) and 9.65 - 10.3 exp(-1.8)
    speeds = s.terminal_velocity_m_s(np.array([1.0, 3.0]))
    np.testing.assert_allclose(speeds, [3.99724, 7.94742], atol=1e-4)
    # 4.1 * 25^-0.21
    assert s.marshall_palmer_slope(25.0) == pytest.approx(2.08553, abs=1e-4)


def drops(**values):
    defaults = dict(
        angle_deg=0.0, angle_spread_deg=0.0, rain_rate_mm_h=30.0, exposure_s=1 / 200,
        focal_px=500.0, near_m=1.0, far_m=4.0, contrast=10.0, oscillation=0.0,
    )  # fmt: skip
    return s.DropParameters(**(defaults | values))


def test_more_rain_and_longer_exposure_give_more_light():
    def light(**values):
        parameters = drops(**values)
        return np.mean(
            [s.render_drops((80, 80), parameters, np.random.default_rng(k)).sum() for k in range(8)]
        )

    assert light(rain_rate_mm_h=5) < light(rain_rate_mm_h=30) < light(rain_rate_mm_h=120)


def test_exposure_lengthens_streaks_and_dims_them():
    short, long = (
        s.render_drops((200, 200), drops(exposure_s=t, far_m=2.0), np.random.default_rng(3))
        for t in (1 / 500, 1 / 50)
    )

    def vertical_extent(layer):
        rows = signal.correlate(layer, layer, mode="same", method="fft")[100 - 60 : 100 + 60, 100]
        return (rows > rows.max() / 2).sum()

    assert vertical_extent(long) > 3 * vertical_extent(short)
    assert long.max() < short.max()


def test_oscillation_repeats_with_the_drop_period():
    streak = geometry(x=20.0, y=40.0, length_px=60.0, ripple=0.5, ripple_period_px=12.0)
    profile = s.rasterize((80, 40), streak)[12:68, 20]
    np.testing.assert_allclose(profile[:-12], profile[12:], atol=1e-5)
    assert profile.max() == pytest.approx(1.5, abs=0.02)
    assert profile.min() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("angle_deg", [0.0, -35.0])
def test_noise_is_thresholded_and_blurred_along_the_direction(angle_deg):
    parameters = s.NoiseParameters(angle_deg=angle_deg, density=0.05, length_px=9.0, width_px=1.0)
    layer = s.render_noise((24, 31), parameters, np.random.default_rng(7))
    # the same by direct convolution
    margin = int(np.ceil(9.0 / 2)) + 2
    shape = (24 + 2 * margin, 31 + 2 * margin)
    noise = np.random.default_rng(7).random(shape, dtype=np.float32)
    grains = np.where(noise > 0.95, (noise - 0.95) / 0.05, 0)
    kernel = s.rasterize(
        (2 * margin + 1,) * 2,
        geometry(x=margin, y=margin, angle_deg=angle_deg, length_px=9.0, width_px=1.0, taper=0.5),
    )
    expected = signal.convolve2d(grains, kernel, mode="valid")
    np.testing.assert_allclose(layer, expected / np.quantile(expected, 0.995), atol=1e-4)


def test_lines_have_the_density_and_direction_asked_for():
    parameters = s.LineParameters(
        angle_deg=25.0, angle_spread_deg=0.0, density=1e-3, length_px=20.0, width_px=1.0,
        variation=0.0, taper=0.0,
    )  # fmt: skip
    layers = [s.render_lines((200, 300), parameters, np.random.default_rng(k)) for k in range(6)]
    # every streak holds length x width of light
    streaks_per_pixel = np.mean([layer.sum() for layer in layers]) / 20 / (200 * 300)
    assert streaks_per_pixel == pytest.approx(1e-3, rel=0.1)
    # structure tensor: the gradient is across the streaks
    gy, gx = np.gradient(ndimage.gaussian_filter(layers[0], 2.0))
    across = 0.5 * np.arctan2(2 * (gx * gy).sum(), (gx * gx - gy * gy).sum())
    assert np.rad2deg(across) == pytest.approx(-25.0, abs=3.0)
