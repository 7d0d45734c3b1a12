import math

import numpy as np
import pytest
import torch

from jorder_preproc.models import StageOutput
from training.losses import joint_loss


def test_joint_loss_by_hand():
    stage = StageOutput(
        background=torch.full((1, 3, 1, 2), 0.5),
        streak_map=torch.full((1, 3, 1, 2), 0.2),
        mask_logits=torch.tensor([0.0, 1.0, 2.0, 0.0]).view(1, 2, 1, 2),
    )
    labels = {
        "rainy": torch.tensor([0.75, 1.0]).expand(1, 3, 1, 2),
        "background": torch.tensor([0.25, 1.0]).expand(1, 3, 1, 2),
        "streak_map": torch.zeros(1, 3, 1, 2),
        "region": torch.tensor([[[1, 0]]]),
    }
    # rain is most likely at the first pixel, which opens the gate of both: softmax of (0, 2)
    gate = 1 / (1 + math.exp(-2))
    errors = [0.75 + gate * (0.5 - 0.75) - 0.25, 1.0 + gate * (0.5 - 1.0) - 1.0]
    l1 = joint_loss([stage, stage], labels, "l1", streak_weight=0.1, mask_weight=0.01)
    expected = 2 * sum(abs(error) for error in errors) / 2
    assert l1["loss_background"].item() == pytest.approx(expected, rel=1e-5)
    assert l1["loss_streaks"].item() == pytest.approx(0.1 * 2 * 0.2)
    # softmax of (0, 2) at class 1, of (1, 0) at class 0
    entropy = -(math.log(gate) + math.log(1 / (1 + math.exp(-1)))) / 2
    assert l1["loss_mask"].item() == pytest.approx(0.01 * 2 * entropy)
    ungated = joint_loss([stage], labels, "l1", gated=False)
    assert ungated["loss_background"].item() == pytest.approx((0.25 + 0.5) / 2)
    l2 = joint_loss([stage], labels, "l2")
    expected = sum(error**2 for error in errors) / 2
    assert l2["loss_background"].item() == pytest.approx(expected, rel=1e-5)


def test_psnr_is_the_mean_logarithm_of_the_images():
    """Two images with errors of 0.1 and 0.3: 20 dB and 10.5 dB, but for the floor of 1e-4."""
    zeros = torch.zeros(2, 3, 4, 4)
    errors = torch.tensor([0.1, -0.3]).view(2, 1, 1, 1)
    stage = StageOutput(zeros + errors, zeros, torch.zeros(2, 2, 4, 4))
    labels = {
        "rainy": zeros,
        "background": zeros,
        "streak_map": zeros,
        "region": torch.zeros(2, 4, 4, dtype=torch.long),
    }
    losses = joint_loss([stage], labels, "psnr", streak_weight=0.0, gated=False)
    expected = 0.016 * (math.log(0.01 + 1e-4) + math.log(0.09 + 1e-4)) / 2
    assert losses["loss_background"].item() == pytest.approx(expected, rel=1e-5)


def test_all_rain_does_not_minimise_the_mask_loss():
    """Eq. 6 as printed would be smallest if everything were called rain."""
    region = torch.from_numpy((np.random.default_rng(0).random((1, 6, 6)) > 0.5).astype(np.int64))
    zeros = torch.zeros(1, 3, 6, 6)

    def mask_loss(rain_logit):
        stage = StageOutput(zeros, zeros, torch.stack([-rain_logit, rain_logit], 1))
        labels = {"rainy": zeros, "background": zeros, "streak_map": zeros, "region": region}
        return joint_loss([stage], labels)["loss_mask"]

    truth = torch.where(region == 1, 8.0, -8.0)
    assert mask_loss(truth) < 1e-3 * mask_loss(torch.full_like(truth, 8.0))


def test_unknown_distance():
    with pytest.raises(ValueError, match="one of l1, l2, psnr, got 'l3'"):
        joint_loss([], {}, "l3")


def test_features_of_the_last_stage_count_behind_the_gate():
    zeros = torch.zeros(1, 3, 1, 1)
    # no rain is seen in the last stage, so its background is the input
    closed = StageOutput(zeros + 0.9, zeros, torch.tensor([50.0, -50.0]).view(1, 2, 1, 1))
    opened = StageOutput(zeros + 0.9, zeros, torch.tensor([-50.0, 50.0]).view(1, 2, 1, 1))
    labels = {
        "rainy": zeros + 0.4,
        "background": zeros + 0.3,
        "streak_map": zeros,
        "region": torch.zeros(1, 1, 1, dtype=torch.long),
    }

    def squared(predicted, target):
        return (predicted - target).square().sum()

    def features(*stages):
        losses = joint_loss(stages, labels, feature_distance=squared, feature_weight=0.5)
        return losses["loss_features"].item()

    assert features(opened, closed) == pytest.approx(0.5 * 3 * 0.1**2, rel=1e-4)
    assert features(closed, opened) == pytest.approx(0.5 * 3 * 0.6**2, rel=1e-4)
    assert "loss_features" not in joint_loss([closed], labels)
