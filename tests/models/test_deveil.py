import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from jorder_preproc.models import (
    DeveilNetwork,
    build_model,
    list_deveil_models,
    load_deveil_model,
    load_model,
    save_weights,
)
from jorder_preproc.models.deveil import haze_cues
from jorder_preproc.models.variants import get_deveil_variant
from tests.networks import random_deveil_network

LITE = "jorder_deveil_lite"


@pytest.mark.parametrize("name", list_deveil_models())
def test_table_gives_the_parameters_and_macs_of_the_network(name):
    network = DeveilNetwork(name)
    macs = []
    cell = DeveilNetwork(name).variant.cell_px
    for side in (2 * cell, 4 * cell):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, 3, side, side))
        # a multiply-accumulate is two floating-point operations
        macs.append(counter.get_total_flops() / 2)
    counted = {
        "parameters": sum(p.numel() for p in network.parameters()),
        # what is done once for an image does not grow with it
        "macs_per_cell": (macs[1] - macs[0]) / (4**2 - 2**2),
    }
    variant = get_deveil_variant(name)
    in_table = {key: getattr(variant, key) for key in counted}
    assert in_table == counted, f"write into the row {name!r} of DEVEIL_VARIANTS: {counted}"


def test_unknown_model_names_the_known_ones():
    message = "unknown deveil model 'jorder_x'; choose from jorder_deveil_lite"
    with pytest.raises(ValueError, match=message):
        DeveilNetwork("jorder_x")


@pytest.mark.parametrize(
    "shape", [(480, 640), (4000, 1000), (100, 128), (101, 60), (1, 1), (3, 5000)]
)
@pytest.mark.parametrize("name", list_deveil_models())
def test_overview_is_small_and_has_the_proportions_of_the_image(name, shape):
    variant = get_deveil_variant(name)
    longest = min(max(shape), variant.overview_px)
    overview = DeveilNetwork(name).overview_shape(shape)
    for side, size in zip(overview, shape, strict=True):
        assert side % variant.cell_px == 0 and 0 < side <= variant.overview_px
        exact = size * longest / max(shape)
        assert abs(side - exact) <= variant.cell_px / 2 or side == variant.cell_px


@pytest.mark.parametrize("name", list_deveil_models())
def test_network_gives_two_terms_for_each_cell(name):
    cell = get_deveil_variant(name).cell_px
    with torch.no_grad():
        coefficients = random_deveil_network(name)(torch.rand(2, 3, 8 * cell, 5 * cell))
    assert coefficients.shape == (2, 2, 1, 8, 5)
    # in the order of the biases of the helper
    assert (coefficients[:, 0].mean(), coefficients[:, 1].mean()) == (
        pytest.approx(0.2, abs=0.1),
        pytest.approx(-0.9, abs=0.1),
    )


def test_haze_cues_match_a_loop_over_cells():
    cell, height, width = 3, 5, 11
    image = np.random.default_rng(0).random((3, height * cell, width * cell)) ** 2
    image[:, :cell, :cell] = 1.0  # nothing but light
    distance = np.log(np.maximum(1.02 - image, 0.02))
    expected = np.empty((22, height, width))
    for y, x in np.ndindex(height, width):
        for k, reach in enumerate((0, 1, 4)):
            rows = slice(max(y - reach, 0) * cell, min(y + reach + 1, height) * cell)
            columns = slice(max(x - reach, 0) * cell, min(x + reach + 1, width) * cell)
            window = image[:, rows, columns]
            darkest = window.min()
            expected[5 * k : 5 * k + 5, y, x] = (
                darkest,
                -np.log(max(1.02 - darkest, 0.02)),
                window.max(),
                (window.max(0) - window.min(0)).mean(),
                np.log(np.sqrt(window.mean(0).var() + 1e-4)),
            )
        own = distance[:, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
        expected[15:18, y, x] = own.mean((1, 2))
        expected[18:21, y, x] = own.max((1, 2))
        expected[21, y, x] = -1 + 2 * y / (height - 1)
    cues = haze_cues(torch.from_numpy(image)[None], cell)
    np.testing.assert_allclose(cues[0], expected, atol=1e-6)


def test_a_cell_is_seen_as_averages_and_cues():
    """The encoder gets the means of 4 x 4 parts of a cell, channel by channel, then the cues."""
    network = random_deveil_network()
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cell = network.variant.cell_px
    overview = torch.rand(1, 3, 2 * cell, 3 * cell)
    with torch.no_grad():
        network(overview)
    (inputs,) = seen
    part = cell // 4
    for channel, y, x, row, column in np.ndindex(3, 4, 4, 2, 3):
        top, left = row * cell + y * part, column * cell + x * part
        mean = overview[0, channel, top : top + part, left : left + part].mean()
        found = inputs[0, channel * 16 + y * 4 + x, row, column]
        torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(inputs[:, 48:], haze_cues(overview, cell))


def test_every_place_sees_the_whole_image():
    network = random_deveil_network()
    overview = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    changed = overview.clone()
    changed[..., -20:, -20:] = 1.0
    with torch.no_grad():
        difference = network(changed) - network(overview)
    # the convolutions do not reach from one corner to the other
    assert difference[..., 0, 0].abs().min() > 1e-6


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 17, 16), (1, 3, 16, 15)])
def test_forward_refuses_other_shapes(shape):
    cell = get_deveil_variant(LITE).cell_px
    with pytest.raises(ValueError, match=rf"\(N, 3, H, W\) with multiples of {cell}, got .*deveil"):
        DeveilNetwork(LITE)(torch.zeros(shape))


@pytest.mark.parametrize("name", list_deveil_models())
def test_saved_weights_load_into_the_same_network(name, tmp_path):
    network, path = random_deveil_network(name), tmp_path / "deveil.safetensors"
    save_weights(network, path)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format_version": "1", "variant": name}
    loaded = load_deveil_model(path)
    assert loaded.name == name
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    overview = torch.rand(1, 3, 16, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(overview), network(overview), rtol=1e-5, atol=1e-6)


def test_loading_leaves_the_random_state(tmp_path):
    path = tmp_path / "deveil.safetensors"
    save_weights(random_deveil_network(), path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_deveil_model(path)
    assert torch.equal(torch.rand(2), expected)


def test_weights_of_a_derainer_are_no_deveil_weights(tmp_path):
    path = tmp_path / "derainer.safetensors"
    save_weights(build_model("jorder_e_lite"), path)
    message = (
        "derainer.safetensors holds weights of jorder_e_lite, which is no deveil network; "
        "expected weights of jorder_deveil_lite"
    )
    with pytest.raises(ValueError, match=message):
        load_deveil_model(path)


def test_deveil_weights_are_no_weights_of_a_derainer(tmp_path):
    path = tmp_path / "veil.safetensors"
    save_weights(DeveilNetwork(LITE), path)
    message = (
        r"veil.safetensors holds weights of the deveil network jorder_deveil_lite, not of "
        r"jorder_e_lite; they go beside those of a derainer: load_deveil_model\(weights\)"
    )
    with pytest.raises(ValueError, match=message):
        load_model("jorder_e_lite", path)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "veil.safetensors"
    save_weights(DeveilNetwork(LITE), path)
    tensors = load_file(path)
    del tensors["encoder.weight"]
    save_file(tensors, path, {"format_version": "1", "variant": LITE})
    with pytest.raises(ValueError, match="does not fit jorder_deveil_lite: 1 tensors missing"):
        load_deveil_model(path)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="not written by jorder-preproc .no format_version"):
        load_deveil_model(path)
    with pytest.raises(FileNotFoundError, match="none.safetensors is neither"):
        load_deveil_model(tmp_path / "none.safetensors")
