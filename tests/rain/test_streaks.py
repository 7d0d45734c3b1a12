import numpy as np
import pytest
from scipy import integrate, ndimage, signal

from jorder_preproc.rain import streaks as s
from jorder_preproc.rain.synthesize import VISIBLE


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


@pytest.mark.parametrize("length_px", [0.2, 0.5, 1.0, 1.7])
def test_light_grows_with_the_length_also_below_a_pixel(length_px):
    # drops in a short exposure; the mean over places within a pixel
    places = [(30 + i / 4, 30 + j / 4) for i in range(4) for j in range(4)]
    light = [
        s.rasterize((60, 60), geometry(x=x, y=y, width_px=0.4, length_px=length_px)).sum()
        for x, y in places
    ]
    assert np.mean(light) == pytest.approx(length_px * 0.4, rel=0.02)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    fields = dict(
        x=rng.uniform(-20, 60, 50), y=rng.uniform(-20, 60, 50), angle_deg=rng.uniform(-80, 80, 50),
        length_px=rng.uniform(0, 40, 50), width_px=rng.uniform(0, 8, 50), intensity=rng.random(50),
        taper=rng.random(50), ripple=rng.random(50), ripple_period_px=rng.uniform(2, 9, 50),
        ripple_phase=rng.uniform(0, 6, 50),
    )  # fmt: skip
    whole = s.rasterize((40, 50), s.StreakGeometry(**fields))
    one_by_one = [
        s.rasterize((40, 50), s.StreakGeometry(**{k: v[i : i + 1] for k, v in fields.items()}))
        for i in range(50)
    ]
    np.testing.assert_allclose(whole, np.sum(one_by_one, axis=0), atol=1e-5)
    monkeypatch.setattr(s, "_BLOCK_ROWS", 7)
    np.testing.assert_array_equal(s.rasterize((40, 50), s.StreakGeometry(**fields)), whole)


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


def coverage(layer):
    """Share of pixels that a white layer changes visibly."""
    return (layer > VISIBLE).mean()


def test_coverage_grows_with_the_rate_and_is_the_same_at_any_size():
    shares = {}
    for rate in (5, 20, 80):
        parameters = drops(
            rain_rate_mm_h=rate, exposure_s=1 / 500, focal_px=600.0, far_m=2.5, angle_spread_deg=2.0
        )
        for shape in ((321, 481), (1080, 1920)):
            shares[rate, shape] = [
                coverage(s.render_drops(shape, parameters, np.random.default_rng(seed)))
                for seed in range(10)
            ]
    for rate in (5, 20, 80):
        small, large = (np.mean(shares[rate, shape]) for shape in ((321, 481), (1080, 1920)))
        # over ten seeds the smaller one's mean has a standard error of 0.8 % at 5 mm/h
        assert small == pytest.approx(large, rel=0.03)
    for shape in ((321, 481), (1080, 1920)):
        # on each of the ten seeds, and clearly: the rates are four times apart
        assert np.all(np.multiply(shares[5, shape], 1.5) < shares[20, shape])
        assert np.all(np.multiply(shares[20, shape], 1.5) < shares[80, shape])


def every_drop(shape, p, rng, margin=60):
    """All drops of a box around the view, seen or not, as the process is defined."""
    slope = 4.1 * p.rain_rate_mm_h**-0.21
    per_m3 = 8000 / slope * (np.exp(-0.2 * slope) - np.exp(-6 * slope))
    solid_angle = (shape[0] + 2 * margin) * (shape[1] + 2 * margin) / p.focal_px**2
    count = rng.poisson(per_m3 * solid_angle * (p.far_m**3 - p.near_m**3) / 3)
    # by rejection: exponential sizes cut at 6 mm, depths by the square of the distance
    diameter = 0.2 + rng.exponential(1 / slope, 2 * count + 100)
    diameter = diameter[diameter < 6][:count] / 1000
    depth = p.far_m * rng.random(2 * count + 100) ** (1 / 3)
    depth = depth[depth > p.near_m][:count]
    speed = 9.65 - 10.3 * np.exp(-600 * diameter)
    streak = speed * p.exposure_s + diameter
    fields = dict(
        x=rng.uniform(-margin, shape[1] + margin, count),
        y=rng.uniform(-margin, shape[0] + margin, count),
        angle_deg=np.full(count, p.angle_deg),
        length_px=streak * p.focal_px / depth,
        width_px=diameter * p.focal_px / depth,
        intensity=p.contrast * diameter / streak,
        taper=np.full(count, 0.3),
        ripple=np.zeros(count),
        ripple_period_px=np.ones(count),
        ripple_phase=np.zeros(count),
    )
    return s.rasterize(shape, s.StreakGeometry(**fields))


def test_drops_left_out_do_not_change_the_statistics():
    # a quarter of the light comes from drops that are too faint to be drawn
    parameters = drops(
        angle_deg=10.0, rain_rate_mm_h=3.0, exposure_s=1 / 60, focal_px=400.0, near_m=0.8,
        contrast=3.0,
    )  # fmt: skip
    layers, expected = (
        np.array([draw((60, 80), parameters, np.random.default_rng(k)) for k in range(40)])
        for draw in (s.render_drops, every_drop)
    )
    # 1.5 and 2 % of standard error on each side
    assert layers.mean() == pytest.approx(expected.mean(), rel=0.07)
    assert coverage(layers) == pytest.approx(coverage(expected), rel=0.08)
    assert layers.std() == pytest.approx(expected.std(), rel=0.1)
    # edges get as much as the middle: streaks that begin outside are counted
    edge = np.mean([layers[:, :3].mean(), layers[:, -3:].mean()])
    assert edge == pytest.approx(layers[:, 25:35].mean(), rel=0.1)


def test_rain_that_cannot_be_seen_adds_its_mean_light():
    parameters = drops(contrast=0.02, exposure_s=1 / 30, near_m=1.0, far_m=4.0, rain_rate_mm_h=10.0)
    layer = s.render_drops((20, 30), parameters, np.random.default_rng(0))
    # contrast x depth x the integral of N(D) D^2, D in mm, tapered ends taken off
    slope = 4.1 * 10**-0.21
    moment = integrate.quad(lambda d: 8000 * np.exp(-slope * d) * d**2, 0.2, 6)[0]
    np.testing.assert_allclose(layer, 0.02 * 3 * moment * 1e-6 * (1 - 0.3 / 3), rtol=1e-3)


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
