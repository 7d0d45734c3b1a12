"""The decision whether it rains at all (see `RainPresence`), made once for a whole picture."""

import numpy as np
import pytest
import torch

from jorder_preproc import derain, rain_probability
from jorder_preproc.derain import derain_pixels
from jorder_preproc.models import build_model

NAME = "jorder_e_unet"


def network_that_sees(rain_above: float):
    """An untrained network that changes every picture, and sees rain in bright ones."""
    torch.manual_seed(0)
    network = build_model(NAME).eval().requires_grad_(False)
    for parameter in network.stages.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    network.gated = False
    # the first channel is the brightness of the cell; what is above the limit makes rain likely
    presence = network.presence
    for parameter in presence.parameters():
        torch.nn.init.zeros_(parameter)
    presence.convs[0].weight[0, :, 1, 1] = 1 / 48
    for convolution in presence.convs[1:]:
        convolution.weight[0, 0, 1, 1] = 1
    presence.summary.weight[0, 0] = 1
    presence.logit.weight[0, 0] = 100
    presence.logit.bias[0] = -100 * rain_above
    network.dry_threshold = 0.5
    return network


@pytest.fixture(scope="module")
def network():
    return network_that_sees(0.5)


def grey(value, height=40, width=50):
    generator = torch.Generator().manual_seed(1)
    return value + 0.1 * (torch.rand(3, height, width, generator=generator) - 0.5)


def test_a_dry_picture_comes_back_bit_for_bit(network):
    for image in (grey(0.3), grey(0.3).double(), grey(0.3).half()):
        background, streak_map, region_mask = derain(network, image)
        assert torch.equal(background, image)
        assert not streak_map.any() and not region_mask.any()
    assert not torch.equal(derain(network, grey(0.7)).background, grey(0.7))
    changed = derain(network, grey(0.3), dry="derain").background
    assert not torch.equal(changed, grey(0.3))


def test_the_rest_of_the_network_is_not_run(network, monkeypatch):
    def refuse(*_):
        raise AssertionError("the stage was run")

    monkeypatch.setattr(network.stages[0], "forward", refuse)
    derain(network, grey(0.3))
    with pytest.raises(AssertionError, match="was run"):
        derain(network, grey(0.7))


def test_each_picture_of_a_batch_is_decided_on_its_own(network):
    batch = torch.stack([grey(0.3), grey(0.7), grey(0.2), grey(0.8)])
    results = derain(network, batch)
    for index, image in enumerate(batch):
        alone = derain(network, image)
        for whole, part in zip(results, alone, strict=True):
            torch.testing.assert_close(whole[index], part, rtol=0, atol=1e-6)
        assert torch.equal(results.background[index], image) == (index in (0, 2))


def test_probability_is_the_sigmoid_of_the_brightness(network):
    image = torch.full((3, 32, 48), 0.52)
    expected = 1 / (1 + np.exp(-100 * (0.52 - 0.5)))
    assert rain_probability(network, image).item() == pytest.approx(expected, rel=1e-4)
    assert rain_probability(network, image[None]).shape == (1,)


@pytest.mark.parametrize("size", [(300, 411), (7, 500)])
def test_tiles_decide_once_for_the_whole(size):
    """Bright on one side alone: by themselves most tiles would be dry."""
    network = network_that_sees(0.24)
    image = grey(0.1, *size)
    image[..., : size[1] // 4] += 0.6
    assert image.mean() > 0.245
    torch.testing.assert_close(
        rain_probability(network, image, tile=280), rain_probability(network, image)
    )
    whole, tiled = derain(network, image), derain(network, image, tile=280)
    torch.testing.assert_close(tiled.background, whole.background, rtol=0, atol=1e-4)
    assert not torch.equal(tiled.background[..., -40:], image[..., -40:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_left_alone_too(network, dtype):
    white = np.iinfo(dtype).max
    pixels = (grey(0.3).permute(1, 2, 0).numpy() * white).astype(dtype)
    result = derain_pixels(network, pixels, with_streak_map=True, with_region_mask=True)
    np.testing.assert_array_equal(result.background, pixels)
    assert not result.streak_map.any() and not result.region_mask.any()
    bright = (grey(0.7).permute(1, 2, 0).numpy() * white).astype(dtype)
    assert (derain_pixels(network, bright).background != bright).any()


def test_bad_choices_are_named(network):
    with pytest.raises(ValueError, match="dry must be one of leave, derain, got 'maybe'"):
        derain(network, grey(0.3), dry="maybe")
    with pytest.raises(ValueError, match="jorder_e_lite cannot tell whether it rains"):
        rain_probability(build_model("jorder_e_lite"), grey(0.3))
