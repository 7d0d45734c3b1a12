"""SRCNN and DetailNet, against their papers' sizes and kornia's guided filter."""

import kornia.filters
import pytest
import torch

from training.baselines import SRCNN, BaselineTraining, DetailNet, guided_filter, restore


@pytest.mark.parametrize(("radius_px", "epsilon"), [(2, 0.01), (5, 1e-3)])
def test_guided_filter_like_kornia(radius_px, epsilon):
    image = torch.rand(2, 3, 24, 31, generator=torch.Generator().manual_seed(0))
    planes = image.flatten(0, 1)[:, None].double()  # each channel guides itself
    expected = kornia.filters.guided_blur(planes, planes, 2 * radius_px + 1, epsilon)
    actual = guided_filter(image.double(), radius_px, epsilon).flatten(0, 1)[:, None]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def test_sizes_by_hand():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    assert count(SRCNN()) == 64 * (3 * 81 + 1) + 32 * (64 + 1) + 3 * (32 * 25 + 1)
    layer = 16 * (16 * 9 + 1) + 2 * 16
    expected = 16 * (3 * 9 + 1) + 2 * 16 + 24 * layer + 3 * (16 * 9 + 1) + 2 * 3
    network = DetailNet()
    assert count(network) == expected
    assert sum(isinstance(m, torch.nn.Conv2d) for m in network.modules()) == 26


def test_detailnet_sees_details_alone():
    network = DetailNet().eval()
    flat = torch.full((1, 3, 40, 40), 0.3)
    brighter = flat + 0.4
    with torch.no_grad():
        change = network(brighter) - brighter
        torch.testing.assert_close(change, network(flat) - flat, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["SRCNN", "DetailNet"])
def test_loss_is_the_squared_error(name):
    torch.manual_seed(0)
    model = BaselineTraining(name).eval()
    rainy, background = torch.rand(2, 2, 3, 20, 24)
    expected = (model.network(rainy) - background).square().mean()
    torch.testing.assert_close(
        model(mode="loss", rainy=rainy, background=background)["loss"], expected
    )
    restored = restore(model.network, rainy[0])
    assert restored.shape == rainy[0].shape
    assert restored.min() >= 0 and restored.max() <= 1
