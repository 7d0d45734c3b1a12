"""The authors' weights with the paper's labels, and trained on."""

import pytest
import torch

from jorder_preproc.functional.derain import derain
from jorder_preproc.models import build_model, load_model, save_weights
from jorder_preproc.models.jorder import Jorder
from tests.networks import random_network
from training.labels import adopt_paper_labels
from training.losses import joint_loss
from training.model import DerainTraining

PRACTICAL = "jorder_e_practical"


def rainy_batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    background = torch.rand(2, 3, 24, 24, generator=generator) * 0.6
    streak_map = torch.zeros_like(background)
    streak_map[..., 5:7] = 0.3
    return {
        "rainy": (background + streak_map).to(dtype),
        "background": background.to(dtype),
        "streak_map": streak_map.to(dtype),
        "region": (streak_map[:, 0] > 0).long(),
    }


# jorder_e_lite has the same heads on folded channels
@pytest.mark.parametrize("name", [PRACTICAL, "jorder_e_lite"])
def test_b_stays_while_s_changes_its_sign_and_r_its_classes(name):
    network = random_network(name, "release").double()
    rainy = rainy_batch(torch.float64)["rainy"]
    before = network(rainy)
    adopt_paper_labels(network)
    assert network.label_convention == "paper"
    for old, new in zip(before, network(rainy), strict=True):
        assert (old.background - rainy).abs().max() > 0.01
        torch.testing.assert_close(new.background, old.background, rtol=0, atol=1e-12)
        torch.testing.assert_close(new.streak_map, -old.streak_map, rtol=0, atol=1e-12)
        torch.testing.assert_close(new.mask_logits, old.mask_logits.flip(1), rtol=0, atol=1e-12)


def test_streaks_of_a_release_network_by_hand():
    """Every stage adds clean - rainy = -0.1 and 10 to the class of clean <= rainy."""
    network = Jorder(PRACTICAL, "release")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for stage in network.stages:
            stage.heads.streaks[1].bias.fill_(-0.1)
            stage.heads.mask[1].bias[0] = 10.0
    adopt_paper_labels(network)
    image = torch.full((3, 16, 16), 0.5)
    derained = derain(network, image, with_streak_map=True, with_region_mask=True)
    torch.testing.assert_close(derained.streak_map, torch.full_like(image, 0.2))
    assert (derained.region_mask == 1).all()
    (*_, last) = network(image[None])
    torch.testing.assert_close(last.mask_logits[0, :, 0, 0], torch.tensor([0.0, 20.0]))


def test_release_weights_train_through_an_open_gate(tmp_path):
    release = random_network(PRACTICAL, "release")
    for stage in release.stages:  # sure, as theirs are, that nothing is darker than the clean one
        stage.heads.mask[1].bias.data = torch.tensor([30.0, 0.0])
    path = tmp_path / "release.safetensors"
    save_weights(release, path)
    model = DerainTraining(PRACTICAL, str(path))
    assert model.network.gated and model.network.label_convention == "paper"
    batch = rainy_batch()
    before = release(batch["rainy"])
    for old, new in zip(before, model.network(batch["rainy"]), strict=True):
        torch.testing.assert_close(new.background, old.background, rtol=0, atol=1e-5)
    losses = model(mode="loss", **batch)
    expected = joint_loss(before, batch, gated=False)["loss_background"]
    torch.testing.assert_close(losses["loss_background"], expected, rtol=1e-4, atol=0)
    save_weights(model.network, path)
    saved = load_model(PRACTICAL, path)
    assert saved.gated and saved.label_convention == "paper"


def test_what_cannot_be_gated_or_converted_is_refused():
    with pytest.raises(ValueError, match=f"{PRACTICAL} cannot be gated"):
        Jorder(PRACTICAL, "release").gated = True
    with pytest.raises(ValueError, match="has the paper's labels already"):
        adopt_paper_labels(build_model(PRACTICAL))
    with pytest.raises(ValueError, match="those of jorder_minus have 'concat'"):
        adopt_paper_labels(Jorder("jorder_minus", "release"))
