"""Networks that are in the paper's comparisons alone: Tables 6, 9 and 13."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, relu

from jorder_preproc.functional.derain import derain, region_gate
from jorder_preproc.models import Jorder
from jorder_preproc.models.context import ContextBlock
from jorder_preproc.models.variants import Variant
from jorder_preproc.rain.synthesize import VISIBLE


def small(**changes) -> Jorder:
    """A network of which every layer does something."""
    fields = {"channels": 4, "blocks": 1, "stages": 1, "paths": ((1, 1),), **changes}
    torch.manual_seed(0)
    network = Jorder("small", variant=Variant(**fields)).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


# Table 6


@pytest.mark.parametrize(
    ("order", "of_mask", "of_streaks"),
    [
        ("rsb", {"mask_logits", "streak_map", "background"}, {"streak_map", "background"}),
        ("par", {"mask_logits", "background"}, {"streak_map", "background"}),
        ("srb", {"mask_logits", "background"}, {"mask_logits", "streak_map", "background"}),
    ],
)
def test_what_a_head_changes(order, of_mask, of_streaks):
    image = torch.rand(1, 3, 6, 7)
    for head, expected in (
        ("mask", of_mask),
        ("streaks", of_streaks),
        ("residual", {"background"}),
    ):
        network = small(order=order)
        (before,) = network(image)
        for parameter in network.get_submodule(f"stages.0.heads.{head}").parameters():
            parameter.zero_()
        (after,) = network(image)
        changed = {
            name
            for name in ("mask_logits", "streak_map", "background")
            if (getattr(before, name) != getattr(after, name)).any()
        }
        assert changed == expected, head


def test_raw_is_a_plain_residual_network():
    """Four layers written out: the background alone, S what it takes off, no word on R."""
    network = small(order="raw").double()
    w = dict(network.named_parameters())
    image = torch.rand(1, 3, 6, 7, dtype=torch.float64)

    def layer(features, name):
        return conv2d(features, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    block = "stages.0.context.blocks.0.paths.0"
    f = relu(layer(image, "stages.0.encoder"))
    f = f + relu(layer(relu(layer(f, f"{block}.0")), f"{block}.1"))
    background = image + layer(f, "stages.0.heads.residual")
    (actual,) = network(image)
    torch.testing.assert_close(actual.background, background)
    torch.testing.assert_close(actual.streak_map, image - background)
    assert not actual.mask_logits.any()
    assert len([name for name in w if name.endswith("weight")]) == 4


def test_derain_takes_raw_at_its_word():
    network = small(order="raw")
    torch.nn.init.normal_(network.stages[0].heads.residual.weight, std=0.2)
    torch.nn.init.constant_(network.stages[0].heads.residual.bias, 0.2)
    image = torch.rand(3, 17, 20)
    (output,) = network(image[None])
    actual = derain(network, image, with_region_mask=True)
    torch.testing.assert_close(actual.background, output.background[0].clamp(0, 1))
    shows = (image - output.background[0] > VISIBLE).any(0)
    assert torch.equal(actual.region_mask[0] > 0, shows)
    assert 0 < shows.float().mean() < 1


def test_derain_gates_only_what_is_gated():
    network = small()
    image = torch.rand(3, 17, 20)
    (output,) = network(image[None])
    gate = region_gate(output.mask_logits.softmax(1)[:, 1:])[0]
    change = output.background[0] - image
    assert network.gated
    torch.testing.assert_close(
        derain(network, image).background, (image + gate * change).clamp(0, 1)
    )
    network.gated = False
    ungated = derain(network, image, with_region_mask=True)
    torch.testing.assert_close(ungated.background, output.background[0].clamp(0, 1))
    gated = derain(small(), image, with_region_mask=True)
    torch.testing.assert_close(ungated.region_mask, gated.region_mask)


# Table 13


def test_residual_stages_refine_r_and_s_of_concatenating_heads():
    """Eq. 8: where the second stage predicts no residual, R and S stay those of the first."""
    network = small(stages=2, residual_stages=True)
    image = torch.rand(1, 3, 6, 7)
    for head in ("mask", "streaks"):
        for parameter in network.get_submodule(f"stages.1.heads.{head}").parameters():
            parameter.zero_()
    first, second = network(image)
    assert torch.equal(second.mask_logits, first.mask_logits)
    assert torch.equal(second.streak_map, first.streak_map)
    assert (second.background != first.background).all()


# Table 9


def path_of(widening: str, factor: int):
    torch.manual_seed(0)
    block = ContextBlock(2, [(factor, factor)], True, widening).double().requires_grad_(False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    path = block.paths[0]
    return path, [(layer.weight, layer.bias) for layer in path]


@pytest.mark.parametrize("size", [(12, 18), (7, 11), (1, 1), (2, 5)])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_pooling_written_out(factor, size):
    path, ((w0, b0), (w1, b1)) = path_of("pool", factor)
    features = torch.randn(1, 2, *size, dtype=torch.float64)
    rows, columns = (range(0, side, factor) for side in size)
    cells = torch.stack(
        [
            torch.stack(
                [features[0, :, y : y + factor, x : x + factor].amax((1, 2)) for x in columns], -1
            )
            for y in rows
        ],
        -2,
    )
    cells = conv2d(relu(conv2d(cells[None], w0, b0, padding=1)), w1, b1, padding=1)[0].numpy()

    def stretch(values, side):
        position = (np.arange(side) + 0.5) / factor - 0.5  # middles on middles
        return np.interp(position, np.arange(len(values)), values)

    for axis, side in ((1, size[0]), (2, size[1])):
        cells = np.apply_along_axis(stretch, axis, cells, side)
    np.testing.assert_allclose(path(features)[0], cells, atol=1e-12)


@pytest.mark.parametrize("size", [(12, 18), (7, 11), (1, 1), (2, 5)])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_strides_written_out(factor, size):
    path, ((w0, b0), (w1, b1)) = path_of("stride", factor)
    features = torch.randn(1, 2, *size, dtype=torch.float64)
    # every factor-th value of a plain convolution
    cells = relu(conv2d(features, w0, b0, padding=factor)[..., ::factor, ::factor])
    # each value laid down, times the kernel, around the place it was taken from
    height, width = size
    expected = torch.zeros(2, height + 2 * factor, width + 2 * factor, dtype=torch.float64)
    side = 2 * factor + 1
    for i, j in np.ndindex(cells.shape[2:]):
        print_ = torch.einsum("c,cokl->okl", cells[0, :, i, j], w1)
        expected[:, i * factor : i * factor + side, j * factor : j * factor + side] += print_
    expected = expected[:, factor:-factor, factor:-factor] + b1[:, None, None]
    torch.testing.assert_close(path(features)[0], expected)


def farthest_seen(network: Jorder) -> int:
    """How far from an output pixel an input pixel lies that changes it, by trying each."""
    for parameter in network.parameters():  # all positive, so that no ReLU cuts a path off
        torch.nn.init.constant_(parameter, 1 / parameter[0].numel())
    width = 2 * network.receptive_field + 8 * network.multiple
    strip = torch.full((1, 3, 4, width), 0.5, dtype=torch.float64)
    changed = strip.repeat(width, 1, 1, 1)
    changed[range(width), ..., range(width)] += 1
    network = network.double()
    difference = network(changed)[-1].background - network(strip)[-1].background
    from_pixel, to_pixel = (difference.abs().amax((1, 2)) > 0).nonzero(as_tuple=True)
    return int((from_pixel - to_pixel).abs().max())


@pytest.mark.parametrize("order", ["rsb", "par", "srb", "raw"])
@pytest.mark.parametrize("widening", ["dilate", "pool", "stride"])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_receptive_field_is_exact_for_one_block(order, widening, factor):
    network = small(order=order, widening=widening, paths=((factor, factor),))
    assert farthest_seen(network) == network.receptive_field


@pytest.mark.parametrize("widening", ["pool", "stride"])
@pytest.mark.parametrize("context", ["parallel", "sequential"])
def test_receptive_field_bounds_several_blocks(widening, context):
    paths = ((1, 1), (2, 2), (3, 3))
    network = small(widening=widening, context=context, paths=paths, blocks=3)
    reach = network.receptive_field
    assert reach - 6 < farthest_seen(network) <= reach


@pytest.mark.parametrize("widening", ["pool", "stride"])
@pytest.mark.parametrize("size", [(101, 7), (10, 121), (13, 14)])
def test_tiles_equal_whole_image(widening, size):
    network = small(widening=widening, paths=((1, 1), (2, 2), (3, 3)), blocks=2)
    image = torch.rand(3, *size)
    whole = derain(network, image, with_streak_map=True)
    assert whole.background.shape == image.shape
    tiled = derain(network, image, tile=67, with_streak_map=True)
    torch.testing.assert_close(tiled.background, whole.background, rtol=0, atol=1e-5)
    torch.testing.assert_close(tiled.streak_map, whole.streak_map, rtol=0, atol=1e-5)
    assert (whole.background - image).abs().max() > 0.01


@pytest.mark.parametrize("widening", ["pool", "stride"])
def test_tiles_off_the_cells_would_show(widening):
    network = small(widening=widening, paths=((1, 1), (2, 2), (3, 3)), blocks=2)
    image = torch.rand(3, 121, 10)
    whole = derain(network, image, with_streak_map=True)
    assert network.multiple == 6
    network.multiple = 1
    tiled = derain(network, image, tile=67, with_streak_map=True)
    assert (tiled.streak_map - whole.streak_map).abs().max() > 1e-3


@pytest.mark.parametrize("widening", ["pool", "stride"])
def test_patches_of_any_size(widening):
    network = small(widening=widening, paths=((1, 1), (2, 2), (3, 3)), unshuffle=2)
    for height, width in ((2, 4), (10, 14), (26, 34)):
        (output,) = network(torch.rand(1, 3, height, width))
        assert [tuple(part.shape[2:]) for part in output[:3]] == [(height, width)] * 3
    assert network.multiple == 12


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="widening='pool' needs paths of two equal numbers"):
        Variant(channels=4, blocks=1, stages=1, paths=((2, 4),), widening="pool")
    with pytest.raises(ValueError, match="order='par' needs fusion='concat', got 'modulate'"):
        Variant(channels=4, blocks=1, stages=1, fusion="modulate", order="par")
    with pytest.raises(ValueError, match="jorder is a row of the table; choose another name"):
        Jorder("jorder", variant=Variant(channels=4, blocks=1, stages=1))
    with pytest.raises(
        ValueError, match="r cannot be gated: none of its outputs is a rain region mask"
    ):
        Jorder("r", gated=True, variant=Variant(channels=4, blocks=1, stages=1, order="raw"))
    with pytest.raises(ValueError, match="jorder cannot be gated"):
        Jorder("jorder", "release", gated=True)
