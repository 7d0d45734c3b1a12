import pytest
import torch
from torch.nn.functional import conv2d, pixel_shuffle

from jorder_preproc.models import encoder_decoder
from jorder_preproc.models.encoder_decoder import EncoderDecoder
from jorder_preproc.models.variants import ContextVariant

VARIANT = ContextVariant(
    channels=4, blocks=2, context="encoder_decoder", levels=2, outer_blocks=1, block="release"
)


def randomized(cues=3):
    torch.manual_seed(0)
    network = EncoderDecoder(VARIANT, cues).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def block(w, name, x, cues):
    """A gated block written out, pixel by pixel where it is one."""

    def norm(values, layer):
        mean = values.mean(1, keepdim=True)
        variance = values.var(1, keepdim=True, unbiased=False)
        weight, bias = (w[f"{name}.{layer}.{p}"].view(-1, 1, 1) for p in ("weight", "bias"))
        return (values - mean) / (variance + 1e-5).sqrt() * weight + bias

    def mix(values, layer):
        kernel = w[f"{name}.{layer}.weight"][:, :, 0, 0]
        bias = w[f"{name}.{layer}.bias"].view(-1, 1, 1)
        return torch.einsum("oc,nchw->nohw", kernel, values) + bias

    wide = mix(norm(x, "norm"), "expand")
    spread = torch.stack(
        [
            conv2d(wide[:, c : c + 1], w[f"{name}.depthwise.weight"][c][None], padding=1)[:, 0]
            for c in range(wide.shape[1])
        ],
        1,
    ) + w[f"{name}.depthwise.bias"].view(-1, 1, 1)
    half = x.shape[1]
    gated = spread[:, :half] * spread[:, half:]
    scale = 1 + cues @ w[f"{name}.from_cues.weight"].T + w[f"{name}.from_cues.bias"]
    x = x + mix(gated * scale[:, :, None, None], "project")
    mixed = mix(norm(x, "mix_norm"), "mix_in")
    return x + mix(mixed[:, :half] * mixed[:, half:], "mix_out")


def test_it_is_the_network_written_out():
    network = randomized()
    w = network.state_dict()
    image = torch.randn(2, 4, 8, 12, dtype=torch.float64)
    cues = torch.randn(2, 3, dtype=torch.float64)

    def convolve(x, name, stride=1):
        return conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride)

    fine = block(w, "encoders.0.0", image, cues)
    middle = block(w, "encoders.1.0", convolve(fine, "downs.0", 2), cues)
    coarse = convolve(middle, "downs.1", 2)
    for k in range(2):
        coarse = block(w, f"coarsest.{k}", coarse, cues)
    middle = block(w, "decoders.1.0", middle + pixel_shuffle(convolve(coarse, "ups.1"), 2), cues)
    expected = block(w, "decoders.0.0", fine + pixel_shuffle(convolve(middle, "ups.0"), 2), cues)

    at_coarsest, actual = network(image, None, cues)
    torch.testing.assert_close(at_coarsest, coarse)
    torch.testing.assert_close(actual, expected)
    previous = torch.randn_like(actual)
    _, after = network(image, [at_coarsest, previous], cues)
    torch.testing.assert_close(after, expected + previous)


@pytest.mark.parametrize("values_at_once", [1, 600, 1800])
def test_strips_make_no_difference(monkeypatch, values_at_once):
    """The rows are whole with gradients, and in strips without."""
    network = randomized()
    features, cues = torch.rand(2, 4, 24, 12).double(), torch.rand(2, 3).double()
    whole = network(features, cues=cues)
    monkeypatch.setattr(encoder_decoder, "_VALUES_AT_ONCE", values_at_once)
    heights = []
    network.encoders[0][0].expand.register_forward_hook(
        lambda layer, inputs, output: heights.append(inputs[0].shape[2])
    )
    with torch.no_grad():
        strips = network(features, cues=cues)
    assert len(heights) > 1 and max(heights) < 24
    for part, other in zip(strips, whole, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-12)


def test_untrained_blocks_take_no_notice_of_the_cues():
    network = EncoderDecoder(VARIANT, 3)
    image = torch.rand(1, 4, 8, 8)
    one, other = (network(image, None, torch.full((1, 3), v))[-1] for v in (0.0, 5.0))
    assert torch.equal(one, other)


@pytest.mark.parametrize(("levels", "outer", "blocks", "reach"), [(1, 1, 1, 5), (2, 2, 8, 47)])
def test_reach_by_hand(levels, outer, blocks, reach):
    # cells of 2 ** level: outer blocks down and up, the coarsest blocks, and the shared cell
    variant = ContextVariant(
        channels=4, blocks=blocks, context="encoder_decoder", levels=levels, outer_blocks=outer
    )
    assert variant.context_reach == reach
    assert variant.context_multiple == 2**levels
