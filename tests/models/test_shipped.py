"""The registry of shipped weights against the files and their cards."""

import copy
import hashlib
import pickle
import re

import pytest
import torch
from torchvision.models import WeightsEnum

from jorder_preproc import (
    JorderDerain,
    JorderDeveilLite_Weights,
    JorderELite_Weights,
    load_deveil_model,
    load_model,
)
from jorder_preproc.models.shipped import SHIPPED, SHIPPED_WEIGHTS

DERAIN, DEVEIL = JorderELite_Weights.DEFAULT, JorderDeveilLite_Weights.DEFAULT
EACH = pytest.mark.parametrize("weights", [DERAIN, DEVEIL], ids=str)


def network_of(weights):
    return load_model(weights=weights) if weights is DERAIN else load_deveil_model(weights)


def table_of(card):
    """PSNR of the card's table: rain, rainy and restored."""
    rows = re.findall(r"^\| ([a-z0-9_]+) \| \d+ \| ([-\d.]+) \| ([\d.]+) \|", card, re.MULTILINE)
    return {
        rain: {"psnr": float(after)} | ({} if before == "-" else {"psnr_rainy": float(before)})
        for rain, before, after in rows
    }


def test_every_file_is_in_the_registry():
    files = {weights.file for enum in map(type, SHIPPED.values()) for weights in enum}
    assert files == set(SHIPPED_WEIGHTS.glob("*.safetensors"))
    assert [weights.meta["model"] for weights in SHIPPED.values()] == list(SHIPPED)


@EACH
def test_facts_are_those_of_the_file(weights):
    content = weights.file.read_bytes()
    assert weights.meta["sha256"] == hashlib.sha256(content).hexdigest()
    assert len(content) < 4_000_000
    network = network_of(weights)
    assert weights.meta["model"] == network.name
    assert weights.meta["num_params"] == sum(p.numel() for p in network.parameters())


@EACH
def test_scores_are_those_of_the_card(weights):
    card = weights.card.read_text()
    assert weights.meta["sha256"] in card
    assert weights.meta["recipe"] in card
    table = table_of(card)
    assert len(table) > 1
    assert weights.meta["scores"] == table


@EACH
def test_state_dict_is_that_of_the_network(weights):
    network = network_of(weights)
    tensors = weights.get_state_dict()
    assert tensors.keys() == network.state_dict().keys()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(tensors[key].float(), value)


@EACH
def test_it_is_a_weights_enum_as_torchvision_has_them(weights):
    assert isinstance(weights, WeightsEnum)
    assert type(weights).verify("DEFAULT") is weights
    assert weights.url.startswith("file://") and weights.url.endswith(weights.file.name)
    assert pickle.loads(pickle.dumps(weights)) is weights
    assert copy.deepcopy(weights) is weights


def test_transforms_derain():
    image = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0))
    expected = JorderDerain(dry="derain")(image)
    assert torch.equal(DERAIN.transforms(dry="derain")(image), expected)
    assert torch.equal(JorderDerain(weights=DERAIN, dry="derain")(image), expected)
    deveiled = JorderDerain(deveil=True, deveil_weights=DEVEIL, dry="derain")(image)
    assert not torch.equal(deveiled, expected)
    assert torch.equal(DEVEIL.transforms(dry="derain")(image), deveiled)


def test_weights_of_another_network():
    with pytest.raises(ValueError, match="holds weights of jorder_e_lite, not of jorder_e;"):
        load_model("jorder_e", DERAIN)
    with pytest.raises(ValueError, match="is no deveil network"):
        load_deveil_model(DERAIN)
