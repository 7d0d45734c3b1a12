import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from jorder_preproc import deveil
from jorder_preproc.functional import windows
from jorder_preproc.functional.deveil import (
    EPSILON,
    LIGHT_RANGE,
    THIN_VEIL,
    Veil,
    estimate_from_views,
    estimate_light,
    estimate_veil,
    is_veiled,
    positions,
    remove_in_strips,
    remove_veil,
    veil_thickness,
)
from jorder_preproc.images import pixels_to_float
from jorder_preproc.models import list_deveil_models
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.rain import compose
from tests.networks import random_deveil_network


def random_image(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


class KnownVeil(DeveilNetwork):
    """Sees the same transmission everywhere."""

    def __init__(self, transmission: float):
        super().__init__("jorder_deveil_lite")
        self.head[-1].bias.data = torch.tensor([math.log(transmission), 0.0])


# Eq. 10


def slow_deveil(image, coefficients, light, rows, columns):
    """Eq. 10 pixel by pixel; rows and columns are places in the whole, from 0 to 1."""
    background, transmission = np.empty_like(image), np.empty_like(image)
    height, width = coefficients.shape[-2:]
    for c, y, x in np.ndindex(image.shape):
        # cells have their values in their middle
        place = [[rows[y] * height - 0.5], [columns[x] * width - 0.5]]
        a, b = (
            map_coordinates(part[0], place, order=1, mode="nearest")[0] for part in coefficients
        )
        alpha = np.exp(a + b * image[c, y, x] / light[c])
        transmission[c, y, x] = alpha
        background[c, y, x] = (image[c, y, x] - (1 - alpha) * light[c]) / (alpha + EPSILON)
    return background, transmission


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "cells"), [((13, 9), (3, 4)), ((4, 6), (4, 6)), ((5, 3), (1, 1))])
def test_remove_veil_matches_pixel_loop(size, cells, dtype):
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, *size))
    coefficients = rng.normal(0, 0.4, (2, 2, 1, *cells))
    light = rng.uniform(0.7, 1, (2, 3, 1, 1))
    # of a window that begins a little inside the whole
    rows, columns = ((np.arange(side) + 2.5) / (side + 4) for side in size)
    expected = [
        slow_deveil(*each, rows, columns)
        for each in zip(images, coefficients, light[..., 0, 0], strict=True)
    ]
    # the veil comes in float32, whatever the image is
    veil = Veil(torch.from_numpy(coefficients).float(), torch.from_numpy(light).float())
    window = [torch.from_numpy(values).to(dtype) for values in (images, rows, columns)]
    background, transmission = remove_veil(window[0], veil, *window[1:])
    assert background.dtype == transmission.dtype == dtype
    np.testing.assert_allclose(background, [b for b, _ in expected], atol=3e-6)
    np.testing.assert_allclose(transmission, [t for _, t in expected], atol=3e-6)


def test_positions_are_the_middles_of_pixels():
    np.testing.assert_allclose(positions(4), [1 / 8, 3 / 8, 5 / 8, 7 / 8], rtol=1e-6)


@pytest.mark.parametrize("transmission", [0.5, 0.8, 1.0])
def test_the_true_veil_gives_back_the_background(transmission):
    background = random_image(3, 30, 41)
    light = torch.tensor([0.9, 0.95, 0.85]).view(3, 1, 1)
    nothing = torch.zeros(1, 30, 41)
    rainy = compose(background, nothing, nothing, transmission, light)
    result = deveil(KnownVeil(transmission), rainy, atmospheric_light=light)
    torch.testing.assert_close(result.background, background, rtol=0, atol=1e-4)
    expected = torch.full_like(background, transmission)
    torch.testing.assert_close(result.transmission, expected, rtol=0, atol=1e-6)
    assert torch.equal(result.atmospheric_light, light)


def test_alpha_above_one_undoes_darkness():
    image, light = torch.full((3, 4, 4), 0.8), torch.ones(3, 1, 1)
    background = deveil(KnownVeil(1.25), image, atmospheric_light=light).background
    # (0.8 + 0.25) / 1.25, by hand
    torch.testing.assert_close(background, torch.full((3, 4, 4), 0.84), rtol=0, atol=1e-4)


def test_the_background_stays_in_range():
    image = torch.tensor([0.1, 0.999]).expand(3, 4, 2)
    light = torch.full((3, 1, 1), 0.8)
    background = deveil(KnownVeil(0.5), image, atmospheric_light=light).background
    # (0.1 - 0.4) / 0.5 < 0 and (0.999 - 0.4) / 0.5 > 1
    assert torch.equal(background, torch.tensor([0.0, 1.0]).expand(3, 4, 2))


@pytest.mark.parametrize("name", list_deveil_models())
def test_an_untrained_network_changes_nothing(name):
    image = random_image(2, 3, 23, 38)
    result = deveil(DeveilNetwork(name), image)
    torch.testing.assert_close(result.background, image, rtol=0, atol=1e-4)
    assert torch.equal(result.transmission, torch.ones(2, 3, 23, 38))


def test_deveil_is_the_network_on_the_overview():
    """Step by step, with the network's own answer and the slow loop."""
    network = random_deveil_network()
    image = random_image(3, 24, 700)
    light = torch.tensor([0.9, 1.0, 0.95]).view(3, 1, 1)
    size = network.overview_shape((24, 700))
    assert max(size) < 700
    overview = torch.nn.functional.adaptive_avg_pool2d(image[None], size)
    with torch.no_grad():
        coefficients = network(overview / light)[0].double().numpy()
    rows, columns = ((np.arange(side) + 0.5) / side for side in (24, 700))
    whole = (image.double().numpy(), coefficients, light.flatten().double().numpy())
    background, transmission = slow_deveil(*whole, rows, columns)
    result = deveil(network, image, atmospheric_light=light)
    np.testing.assert_allclose(result.background, background.clip(0, 1), atol=1e-5)
    np.testing.assert_allclose(result.transmission, transmission, atol=1e-5)
    assert np.ptp(transmission) > 0.3


def test_batch_gives_what_single_images_give():
    network, images = random_deveil_network(), random_image(3, 3, 18, 21)
    single = [deveil(network, image) for image in images]
    for index, part in enumerate(deveil(network, images)):
        expected = torch.stack([one[index] for one in single])
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3, 2)])
def test_odd_sizes(size):
    result = deveil(random_deveil_network(), random_image(3, *size))
    assert [tuple(part.shape) for part in result] == [(3, *size), (3, *size), (3, 1, 1)]
    assert all(part.isfinite().all() for part in result)


def test_empty_batch():
    result = deveil(random_deveil_network(), torch.empty(0, 3, 8, 9))
    assert [tuple(part.shape) for part in result] == [(0, 3, 8, 9), (0, 3, 8, 9), (0, 3, 1, 1)]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-5)]
)
def test_other_dtypes_give_the_float32_result(dtype, tolerance):
    network, image = random_deveil_network(), random_image(3, 20, 22, dtype=dtype)
    expected = deveil(network, image.float())
    actual = deveil(network, image)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.float(), theirs, rtol=tolerance, atol=tolerance)


def test_half_precision_network_runs_in_its_own_precision():
    image = random_image(3, 20, 22)
    expected = deveil(random_deveil_network(), image).background
    actual = deveil(random_deveil_network().bfloat16(), image).background
    assert actual.dtype == torch.float32
    assert 0 < (actual - expected).abs().mean() < 0.02


def test_result_can_be_trained_on():
    layer = torch.nn.Conv2d(3, 1, 3)
    result = deveil(random_deveil_network(), random_image(1, 3, 16, 16).requires_grad_())
    assert not result.background.requires_grad
    layer(result.background).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


# the atmospheric light


def veiled_scene(light, height=90, width=120, seed=0):
    """A scene of many colours whose upper quarter is nothing but veil: (1, 3, H, W), in [0, 1]."""
    image = random_image(1, 3, height, width, seed=seed)
    top = height // 4
    # the patches of a street, not noise: 6 x 6 px, in every dark channel
    image = image[..., ::6, ::6].repeat_interleave(6, 2).repeat_interleave(6, 3)
    image = image[..., :height, :width] * 0.7
    image[..., :top, :] = torch.tensor(light).view(3, 1, 1)
    return image


LIGHTS = [(0.9, 0.9, 0.9), (0.85, 0.87, 0.89), (0.97, 1.0, 0.98), (0.8, 0.8, 0.8)]


@pytest.mark.parametrize("light", LIGHTS)
def test_light_is_the_colour_of_the_veil(light):
    found = estimate_light(veiled_scene(light))
    assert found.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(found.flatten(), light, atol=1e-6)


@pytest.mark.parametrize("light", LIGHTS)
def test_light_is_steady_under_noise_spots_and_crops(light):
    image = veiled_scene(light)
    rng = np.random.default_rng(0)
    height, width = image.shape[2:]
    noisy = (image + torch.from_numpy(rng.normal(0, 5 / 255, image.shape)).float()).clamp(0, 1)
    spotted = image.clone()
    spots = torch.from_numpy(rng.choice(height * width, height * width // 1000, replace=False))
    spotted.flatten(2)[..., spots] = 1.0
    # a lamp: more than the thousandth part, but one place
    spotted[..., 60:64, 40:44] = 1.0
    crops = [image[..., :54, :72], image[..., :54, -72:], image[..., 5:59, 20:92]]
    for other in (noisy, spotted, *crops):
        np.testing.assert_allclose(estimate_light(other).flatten(), light, atol=0.02)


def test_light_is_not_taken_from_what_is_bright_and_small():
    image = torch.zeros(1, 3, 60, 60)
    image[..., :20, :] = 0.85
    image[..., 40:43, 40:43] = 1.0  # narrower than the window of the dark channel
    np.testing.assert_allclose(estimate_light(image).flatten(), [0.85] * 3, atol=1e-6)


def test_light_is_not_taken_from_bright_colours():
    image = torch.zeros(1, 3, 60, 60)
    image[:, 0, 30:] = 1.0  # pure red: its dark channel is black
    image[..., :30, :] = 0.9
    np.testing.assert_allclose(estimate_light(image).flatten(), [0.9] * 3, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.8, 1.0])
def test_light_is_as_bright_as_an_overcast_sky(level):
    expected = min(max(level, LIGHT_RANGE[0]), LIGHT_RANGE[1])
    found = estimate_light(torch.full((1, 3, 9, 9), level))
    np.testing.assert_allclose(found.flatten(), [expected] * 3, atol=1e-6)


def test_light_is_close_to_grey():
    image = torch.tensor([0.9, 0.5, 0.88]).view(1, 3, 1, 1).expand(1, 3, 9, 9)
    # the green channel is held at 95 % of the brightest
    np.testing.assert_allclose(estimate_light(image).flatten(), [0.9, 0.855, 0.88], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 128), (64, 64)])
def test_light_of_any_image_is_in_range(size):
    light = estimate_light(random_image(5, 3, *size) ** 3)
    brightest = light.amax(1)
    assert (brightest >= LIGHT_RANGE[0]).all() and (brightest <= LIGHT_RANGE[1]).all()
    assert (light.amin(1) >= 0.95 * brightest - 1e-6).all()


def test_light_of_each_image_is_its_own():
    scenes = torch.cat([veiled_scene(light) for light in LIGHTS])
    np.testing.assert_allclose(estimate_light(scenes)[..., 0, 0], LIGHTS, atol=1e-6)


def test_light_is_estimated_where_none_is_given():
    image = veiled_scene((0.9, 0.88, 0.9))[0]
    result = deveil(KnownVeil(0.8), image)
    np.testing.assert_allclose(result.atmospheric_light.flatten(), (0.9, 0.88, 0.9), atol=2e-3)
    given = deveil(KnownVeil(0.8), image, atmospheric_light=result.atmospheric_light)
    torch.testing.assert_close(given.background, result.background, rtol=0, atol=1e-6)


def test_given_light_is_used():
    image = random_image(2, 3, 12, 14)
    lights = torch.tensor([[0.5, 0.6, 0.7], [1.0, 0.9, 0.8]]).view(2, 3, 1, 1)
    result = deveil(KnownVeil(0.5), image, atmospheric_light=lights)
    assert torch.equal(result.atmospheric_light, lights)
    torch.testing.assert_close(
        result.background, (2 * image - lights).clamp(0, 1), rtol=0, atol=1e-4
    )
    for light in (lights[0], lights[:1]):
        shared = deveil(KnownVeil(0.5), image, atmospheric_light=light)
        assert torch.equal(shared.atmospheric_light, lights[:1].expand(2, 3, 1, 1))
        torch.testing.assert_close(shared.background[0], result.background[0])


# how thick the veil is


def test_thickness_is_the_mean_of_what_alpha_lacks():
    overview = random_image(2, 3, 4, 3)
    coefficients = torch.zeros(2, 2, 1, 1, 3)
    # places at the middles of cells: alpha above 1 takes nothing off what others lack
    coefficients[1, 0, 0, 0] = torch.tensor([0.6, 0.9, 1.5]).log()
    thickness = veil_thickness(overview, Veil(coefficients, torch.ones(2, 3, 1, 1)))
    np.testing.assert_allclose(thickness, [0, (0.4 + 0.1) / 3], atol=1e-6)


@pytest.mark.parametrize(("thickness", "veiled"), [(0.0, False), (0.5, True)])
def test_a_thin_veil_is_none(thickness, veiled):
    images = random_image(3, 3, 20, 30)
    assert is_veiled(KnownVeil(1 - thickness), [images]).tolist() == [veiled] * 3
    for offset, expected in ((-0.01, False), (0.01, True)):
        network = KnownVeil(1 - THIN_VEIL - offset)
        assert is_veiled(network, [images]).tolist() == [expected] * 3


def test_a_veil_seen_in_two_views_is_their_mean():
    views = [random_image(2, 3, 32, 48, seed=seed) for seed in (0, 1)]
    network = random_deveil_network()
    first, second = (estimate_veil(network, view) for view in views)
    both = estimate_from_views(network, views)
    for part, one, other in zip(both, first, second, strict=True):
        torch.testing.assert_close(part, (one + other) / 2)


# parts of an image


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8, torch.uint16])
def test_images_are_deveiled_some_rows_at_a_time(monkeypatch, dtype):
    network, images = random_deveil_network(), windows.convert(random_image(2, 3, 37, 30), dtype)
    values = pixels_to_float(images).double()
    expected = deveil(network, values).background
    seen, strips = [], windows.strips

    def recording(images):
        for rows in strips(images):
            seen.append((rows.start, rows.stop))
            yield rows

    monkeypatch.setattr(windows, "strips", recording)
    monkeypatch.setattr(windows, "PIXELS_AT_ONCE", 2 * 10 * 30)
    with torch.no_grad():
        found = remove_in_strips(network, [images], dtype)
    assert found.dtype == dtype
    tolerance = {torch.float16: 1e-3, torch.uint8: 0.51 / 255}.get(dtype, 1e-5)
    actual = pixels_to_float(found).double()
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)
    assert seen == [(0, 10), (10, 20), (20, 30), (30, 37)]


def test_streaks_seen_through_the_veil_are_divided_by_its_transmission():
    network, streaks = KnownVeil(0.5), random_image(1, 3, 20, 30)
    expected = (2 * streaks).clamp(max=1)
    with torch.no_grad():
        remove_in_strips(network, [random_image(1, 3, 20, 30, seed=1)], torch.float32, streaks)
    torch.testing.assert_close(streaks, expected, rtol=0, atol=1e-4)


# bad input


@pytest.mark.parametrize(
    ("light", "message"),
    [
        (torch.ones(3), r"must be \(3, 1, 1\) or \(2, 3, 1, 1\), one for each .*, got \(3,\)"),
        (torch.ones(4, 3, 1, 1), r"got \(4, 3, 1, 1\)"),
        (torch.zeros(3, 1, 1), r"must be in \(0, 1\], got \[0.0, 0.0, 0.0\]"),
        (torch.full((3, 1, 1), 1.5), r"must be in \(0, 1\], got \[1.5"),
        (torch.full((3, 1, 1), float("nan")), r"must be in \(0, 1\], got \[nan"),
    ],
)
def test_light_refused(light, message):
    with pytest.raises(ValueError, match=message):
        deveil(
            DeveilNetwork("jorder_deveil_lite"), random_image(2, 3, 8, 8), atmospheric_light=light
        )


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((3, 4, 4)), TypeError, "must be a float tensor, got ndarray"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), TypeError, "got torch.uint8; divide"),
        (torch.zeros(1, 4, 4), ValueError, r"got \(1, 4, 4\); repeat a grey channel"),
        (torch.full((3, 4, 4), 2.0), ValueError, "from 2 to 2; divide 8-bit pixels"),
        (torch.full((3, 4, 4), float("nan")), ValueError, "finite .* from nan to nan"),
    ],
)
def test_deveil_refuses(image, error, message):
    with pytest.raises(error, match=message):
        deveil(DeveilNetwork("jorder_deveil_lite"), image)
