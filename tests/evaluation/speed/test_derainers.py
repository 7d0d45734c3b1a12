import pytest
import torch
from torch.nn.functional import conv2d, relu

from evaluation.speed.derainers import Derainer, build, list_derainers, rainy_photographs
from evaluation.speed.prenet import PReNet
from jorder_preproc import derain, load_model
from jorder_preproc.images import pixels_to_float

PUBLISHED_PARAMETERS = 168_963
"""Of PReNet, from the authors' repository."""


def test_prenet_has_as_many_parameters_as_published():
    assert sum(p.numel() for p in PReNet().parameters()) == PUBLISHED_PARAMETERS


@torch.no_grad()
def test_prenet_is_that_of_the_publication_written_step_by_step():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, rainy = PReNet(), torch.rand(2, 3, 7, 9)

    def layer(conv, x):
        return conv2d(x, conv.weight, conv.bias, padding=1)

    h = c = torch.zeros(2, 32, 7, 9)
    x = rainy
    for _ in range(6):
        x = relu(layer(network.encoder, torch.cat([rainy, x], 1)))
        gates = layer(network.gates, torch.cat([x, h], 1))
        i, f, o = (gates[:, 32 * n : 32 * n + 32].sigmoid() for n in range(3))
        c = f * c + i * gates[:, 96:].tanh()
        h = x = o * c.tanh()
        for first, _, second, _ in network.blocks:
            x = relu(relu(layer(second, relu(layer(first, x)))) + x)
        x = layer(network.decoder, x)
    torch.testing.assert_close(network(rainy), x)


def test_every_network_is_run_by_every_backend():
    found = list_derainers(["jorder", "PReNet"], ["torch", "openvino"], ["float32", "bfloat16"])
    assert [" ".join([d.name, d.run_by]) for d in found] == [
        "jorder torch float32 channels-last",
        "jorder torch float32 NCHW",
        "jorder torch bfloat16",
        "jorder openvino float32",
        "jorder openvino bfloat16",
        "PReNet torch float32 channels-last",
        "PReNet torch float32 NCHW",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["jorder_x"], ["torch"], ["float32"]), "unknown model 'jorder_x'"),
        ((["jorder"], ["tensorrt"], ["float32"]), "backend must be one of torch, .* 'tensorrt'"),
        ((["jorder"], ["torch"], ["float8"]), "precision must be one of float32, .* 'float8'"),
    ],
)
def test_unknown_choices_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        list_derainers(*arguments)


@pytest.mark.parametrize("layout", ["channels-last", "NCHW"])
def test_what_is_timed_derains(layout):
    rainy = rainy_photographs((48, 40), 2)
    assert rainy.shape == (2, 3, 40, 48) and rainy.dtype == torch.uint8
    found = build(Derainer("jorder_e_lite", layout=layout), "cpu")(rainy)
    expected = derain(load_model(), rainy, dry="derain").background
    assert (found.int() - expected.int()).abs().max() <= 1
    assert (found.int() - rainy.int()).abs().max() > 40
    deveiled = build(Derainer("jorder_e_lite+deveil", layout=layout), "cpu")(rainy)
    assert (deveiled.int() - expected.int()).abs().max() > 1


def test_prenet_takes_photographs_too():
    rainy = rainy_photographs((20, 30), 1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = build(Derainer("PReNet"), "cpu")(rainy)
        torch.manual_seed(3)
        with torch.no_grad():
            expected = PReNet()(pixels_to_float(rainy)).clamp(0, 1)
    assert (found / 255 - expected).abs().max() < 0.51 / 255


def test_photographs_begin_again_after_the_last():
    rainy = rainy_photographs((8, 8), 8)
    assert torch.equal(rainy[6:], rainy[:2]) and not torch.equal(rainy[0], rainy[1])
