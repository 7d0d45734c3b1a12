"""What is left after the first pass, as the second one is trained on it."""

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from jorder_preproc.functional.derain import derain
from tests.networks import random_network
from training import model
from training.model import DerainTraining
from training.second_pass import take_to_second_pass


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.rand(*shape, generator=generator)

    background = draw(3, 3, 24, 24) * 0.4 + 0.3
    rainy = (background + draw(3, 1, 24, 24) ** 8 * 0.3).clamp(max=1)
    streak_map = rainy - background
    return {
        "rainy": rainy,
        "background": background,
        "streak_map": streak_map,
        "region": (streak_map.amax(1) > 2 / 255).long(),
        "raining": torch.ones(3),
        "transmission": draw(3, 1, 24, 24) * 0.5 + 0.5,
        "atmospheric_light": draw(3, 3, 1, 1) * 0.2 + 0.8,
    }


def test_second_pass_is_deveil_of_derained(batch):
    network = random_network("jorder_e_lite")
    taken = take_to_second_pass(network, batch, 2)
    first = derain(network, batch["rainy"]).background
    for n in range(2):
        alpha, light = (batch[key][n].numpy() for key in ("transmission", "atmospheric_light"))
        expected = {
            key: np.clip((image[n].numpy() - (1 - alpha) * light) / (alpha + 1e-5), 0, 1)
            for key, image in (("rainy", first), ("background", batch["background"]))
        }
        change = expected["rainy"] - expected["background"]
        for key, value in {**expected, "streak_map": np.maximum(change, 0)}.items():
            np.testing.assert_allclose(taken[key][n], value, atol=1e-5)
        region = np.abs(change).max(0) > 2 / 255
        assert np.array_equal(taken["region"][n], region) and taken["raining"][n] == region.any()
        # also where the first pass took away too much
        assert taken["region"][n][change.max(0) <= 2 / 255].any()
    for key, value in batch.items():
        assert torch.equal(taken[key][2:], value[2:])
        assert taken[key].dtype == value.dtype and taken[key].shape == value.shape


def test_loss_is_that_of_the_second_pass(batch):
    model = DerainTraining("jorder_e_lite", second_pass=0.67)
    taken = take_to_second_pass(model.network, batch, 2)
    losses = model(mode="loss", **batch)
    model.second_pass = 0.0
    expected = model(mode="loss", **taken)
    assert expected.keys() == losses.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    losses["loss_background"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_what_the_first_pass_left_dry_does_not_rain(batch):
    network = random_network("jorder_e_lite")
    derained = derain(network, batch["rainy"], dry="derain").background
    taken = take_to_second_pass(network, {**batch, "background": derained}, 2)
    assert taken["raining"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("share", "expected"), [(0.1, 3), (0.5, 15), (1.0, 30)])
def test_small_batches_have_their_share_of_second_passes(batch, monkeypatch, share, expected):
    taken = []

    def count(network, batch, number):
        taken.append(number)
        return batch

    monkeypatch.setattr(model, "take_to_second_pass", count)
    network = DerainTraining("jorder_e_lite", second_pass=share)
    for iteration in range(10):
        MessageHub.get_current_instance().update_info("iter", iteration)
        network(mode="loss", **batch)
    MessageHub.get_current_instance().update_info("iter", 0)
    assert sum(taken) == expected
