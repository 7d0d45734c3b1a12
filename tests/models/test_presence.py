import math

import pytest
import torch

from jorder_preproc.models.presence import RainPresence


def test_logit_by_hand():
    presence = RainPresence(2)
    with torch.no_grad():
        presence.logit.weight.copy_(torch.tensor([[0.5, -1.0, 2.0, 3.0]]))
        presence.logit.bias.fill_(-4)
    features = torch.tensor([[[[1.0, 3.0]], [[-2.0, 2.0]]]])  # two channels, two cells
    logit = presence(presence.sums(features), 2).item()
    expected = 0.5 * 2 - 1.0 * 0 + 2.0 * math.sqrt(5) + 3.0 * 2 - 4
    assert logit == pytest.approx(expected, rel=1e-5)


def test_windows_add_up():
    torch.manual_seed(0)
    presence = RainPresence(4)
    features = torch.randn(3, 4, 6, 5)
    parts = [features[..., :2, :], features[..., 2:, :3], features[..., 2:, 3:]]
    added = sum(presence.sums(part) for part in parts)
    torch.testing.assert_close(presence(added, 30), presence(presence.sums(features), 30))
