"""The network where PyTorch's users look for it: torch.hub, the Hub's mixin, torch.export."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model_weights

import hubconf
from jorder_preproc import JorderDerain, JorderELite_Weights, derain
from jorder_preproc.backends import Window
from jorder_preproc.hub import PretrainedJorder
from jorder_preproc.models import Jorder, get_variant
from tests.networks import network_that_sees

ROOT = Path(__file__).parents[1]


def noise(height, width, count=1):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))


@pytest.fixture(scope="module")
def network():
    """Changes every image, and tells bright ones from others."""
    return network_that_sees(rain_above=0.3)


def test_torch_hub_loads_from_a_checkout():
    """In a new process, where the package is not on the path."""
    program = f"""
import torch
network = torch.hub.load({str(ROOT)!r}, "jorder_e_lite", source="local")
transform = torch.hub.load({str(ROOT)!r}, "jorder_derain", source="local", dry="derain")
image = torch.full((3, 16, 16), 0.25)
image[:, :, 8] = 1
import jorder_preproc
expected = jorder_preproc.derain(jorder_preproc.load_model(), image, dry="derain").background
assert torch.equal(jorder_preproc.derain(network, image, dry="derain").background, expected)
assert torch.equal(transform(image), expected)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr


def test_torchvision_finds_the_weights_of_the_entry_point():
    assert get_model_weights(hubconf.jorder_e_lite) is JorderELite_Weights
    deveil = hubconf.jorder_deveil_lite(hubconf.JorderDeveilLite_Weights.DEFAULT)
    assert deveil.name == "jorder_deveil_lite"


def test_save_pretrained_and_back(network, tmp_path):
    PretrainedJorder.of(network).save_pretrained(tmp_path)
    again = PretrainedJorder.from_pretrained(tmp_path)
    assert isinstance(again, Jorder) and not again.training
    assert (again.dry_threshold, again.gated) == (network.dry_threshold, network.gated)
    image = noise(24, 32)[0]
    expected = derain(network, image).background
    assert not torch.equal(expected, image)
    torch.testing.assert_close(derain(again, image).background, expected)
    # the file is one like any other
    assert torch.equal(
        JorderDerain(weights=tmp_path / "model.safetensors")(image),
        derain(again, image).background,
    )
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["name"] == "jorder_e_lite"
    assert "license: apache-2.0" in (tmp_path / "README.md").read_text()


def test_from_pretrained_of_something_else(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "jorder_e_lite"}')
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="damaged or not a safetensors file"):
        PretrainedJorder.from_pretrained(tmp_path)


def test_export_agrees_with_eager_at_other_sizes():
    """The structure of the default network, with fewer blocks, which is quicker."""
    variant = dataclasses.replace(get_variant("jorder_e_lite"), blocks=1, outer_blocks=1)
    network = Jorder("fewer_blocks", variant=variant).eval()
    network.apply(lambda module: getattr(module, "reset_parameters", lambda: None)())
    fold, size = network.fold, torch.export.Dim
    shapes = {"rainy": {0: size("images"), 2: fold * size("rows"), 3: fold * size("columns")}}
    program = torch.export.export(Window(network), (noise(32, 48, 2),), dynamic_shapes=shapes)
    exported = program.module()
    for image in (noise(24, 40), noise(40, 32, 3)):
        with torch.no_grad():
            expected = Window(network)(image)
            actual = exported(image)
        assert len(expected) == 4 and (expected[0] - image).abs().max() > 0.01
        for ours, eager in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-4)
