import math

import pytest
import torch

from training.model import DerainTraining


def test_loss_of_presence_by_hand():
    torch.manual_seed(0)
    model = DerainTraining("jorder_e_lite", presence_weight=0.1, dry=0.2)
    rainy = torch.rand(2, 3, 16, 16)
    batch = {
        "rainy": rainy,
        "background": rainy,
        "streak_map": torch.zeros_like(rainy),
        "region": torch.zeros(2, 16, 16, dtype=torch.long),
        "raining": torch.tensor([1.0, 0.0]),
    }
    presence = model.network.presence
    with torch.no_grad():
        coarsest = model.network(rainy)[0].coarsest
        logits = presence(presence.sums(coarsest), 4).tolist()  # cells of 8 px
        actual = model(mode="loss", **batch)["loss_presence"].item()
    probabilities = [1 / (1 + math.exp(-logit)) for logit in logits]
    # four of five images are rainy, and each of them counts a quarter
    entropy = -(math.log(probabilities[0]) / 4 + math.log(1 - probabilities[1])) / 2
    assert actual == pytest.approx(0.1 * entropy, rel=1e-5)
