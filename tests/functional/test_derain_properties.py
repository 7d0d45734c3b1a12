"""What holds for `derain` on any size, batch and tile, on images drawn by Hypothesis."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from jorder_preproc import derain
from jorder_preproc.functional.derain import GATE_WINDOW
from jorder_preproc.models import load_model
from tests.networks import random_deveil_network, tiny_network
from tests.strategies import few, noise, sizes

TINY, DEVEILER = tiny_network(), random_deveil_network()
VEIL = [
    {},
    {"deveil": True, "deveil_model": DEVEILER},
    {"deveil": "auto", "deveil_model": DEVEILER},
]


def tile_for(network, size, beyond: int) -> int:
    """The smallest tile and `beyond`; larger for large images, which would take long."""
    halo = network.receptive_field + GATE_WINDOW // 2
    steps = max(1 + beyond, max(size) // (3 * network.multiple))
    return (2 * -(-halo // network.multiple) + steps) * network.multiple


def assert_layers_close(actual, expected, atol):
    for name in ("background", "streak_map", "region_mask", "rain_probability"):
        first, second = getattr(actual, name), getattr(expected, name)
        assert (first.shape, first.dtype) == (second.shape, second.dtype), name
        if name == "region_mask":  # a probability near one half may fall to either side
            assert (first != second).double().mean() <= 1e-3 if first.numel() else True
        else:
            torch.testing.assert_close(first, second, rtol=0, atol=atol, msg=name)


@few(25)
@given(
    size=sizes(large=True),
    batch=st.integers(0, 3),
    beyond=st.integers(0, 9),
    veil=st.sampled_from(VEIL),
)
@example((700, 700), 1, 0, VEIL[0])
@example((599, 133), 2, 3, VEIL[1])
def test_tiles_equal_the_whole(size, batch, beyond, veil):
    image = torch.from_numpy(noise((batch, 3, *size), "float32"))
    options = dict(with_streak_map=True, with_region_mask=True, **veil)
    whole = derain(TINY, image, **options)
    tiled = derain(TINY, image, tile=tile_for(TINY, size, beyond), **options)
    assert_layers_close(tiled, whole, 1e-4)
    for layer in whole[:3]:
        assert layer.isfinite().all() and (layer >= 0).all() and (layer <= 1).all()


@few(3)
@given(size=sizes())
@example((337, 290))
def test_tiles_of_the_shipped_network_equal_the_whole(size):
    network = load_model()
    image = torch.from_numpy(noise((3, *size), "float32"))
    options = dict(with_streak_map=True, with_region_mask=True, dry="derain")
    whole = derain(network, image, **options)
    assert_layers_close(
        derain(network, image, tile=tile_for(network, size, 0), **options), whole, 1e-4
    )


@few(25)
@given(size=sizes(), batch=st.integers(0, 4), veil=st.sampled_from(VEIL))
def test_a_batch_gives_what_its_images_give(size, batch, veil):
    images = torch.from_numpy(noise((batch, 3, *size), "float32"))
    images *= torch.linspace(0.2, 1, max(batch, 1))[:batch, None, None, None]  # dark ones, too
    options = dict(with_streak_map=True, with_region_mask=True, **veil)
    together = derain(TINY, images, **options)
    again = derain(TINY, images, **options)
    for first, second in zip(together, again, strict=True):
        assert torch.equal(first, second)
    for number, image in enumerate(images):
        alone = derain(TINY, image, **options)
        assert_layers_close(type(alone)(*(part[number] for part in together)), alone, 1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
@few(15)
@given(size=sizes(), batch=st.integers(1, 4))
def test_integers_are_the_floats_rounded(dtype, size, batch):
    white = torch.iinfo(dtype).max
    pixels = torch.from_numpy(noise((batch, 3, *size), str(dtype).removeprefix("torch.")))
    actual = derain(TINY, pixels).background
    assert actual.dtype == dtype
    floats = derain(TINY, pixels.to(torch.float32) / white).background.double() * white
    assert (actual.double() - floats).abs().max() <= 0.5 + 2e-5 * white
