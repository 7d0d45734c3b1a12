"""Exported files compute what `derain` does, without this package."""

import sys

import numpy as np
import onnxruntime
import openvino
import pytest
import skimage.data
import torch
from typer.testing import CliRunner

from jorder_preproc import derain, load_model, synthesize_rain
from jorder_preproc.cli import app

FILES = {"onnx": "network.onnx", "openvino": "network.xml"}


def run_command(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def run_file(path, rainy):
    """Outputs of an exported file, by the runtime of its format."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {"rainy": rainy.numpy()})
    model = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [part.copy() for part in model([rainy.numpy()]).values()]


@pytest.fixture(scope="module")
def images():
    """Photographs of a size that must be padded: in light rain, in heavy rain, dry."""
    pixels = skimage.data.astronaut()[40:141, :133]
    clean = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    rainy = [synthesize_rain(clean, preset, 1, "x").rainy for preset in ("light", "heavy")]
    return torch.stack([*rainy, clean])


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_file_derains_as_the_package_does(images, tmp_path, format):
    path = tmp_path / FILES[format]
    result = run_command(path, "--format", format)
    assert result.exit_code == 0, result.output
    assert sorted(file.suffix for file in tmp_path.iterdir()) == (
        [".onnx"] if format == "onnx" else [".bin", ".xml"]
    )
    network = load_model()
    expected = derain(network, images, with_streak_map=True, with_region_mask=True)
    found = run_file(path, images)
    for part, other in zip(found, (part for part in expected if part is not None), strict=True):
        np.testing.assert_allclose(part, other.numpy(), rtol=0, atol=1e-4)
    changes = np.abs(found[0] - images.numpy()).max((1, 2, 3))
    assert changes[:2].min() > 0.1
    assert changes[2] == 0  # the image counts as dry
    one = images[:1, :, :48, :64]
    background = derain(network, one).background
    np.testing.assert_allclose(run_file(path, one)[0], background.numpy(), rtol=0, atol=1e-4)


def test_a_file_that_exists_stays(tmp_path):
    (tmp_path / "a.bin").write_text("mine")
    result = run_command(tmp_path / "a.xml", "--format", "openvino")
    assert result.exit_code == 2 and "a.bin exists" in result.stderr
    assert (tmp_path / "a.bin").read_text() == "mine"


def test_bad_options_are_named(tmp_path, monkeypatch):
    result = run_command(tmp_path / "a.xml")
    assert result.exit_code == 2 and "must end in .onnx, got a.xml" in result.stderr
    result = run_command(tmp_path / "a.onnx", "--format", "tensorrt")
    assert result.exit_code == 2 and "tensorrt" in result.stderr
    result = run_command(tmp_path / "missing/a.onnx")
    assert result.exit_code == 2 and "cannot write" in result.stderr
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = run_command(tmp_path / "a.xml", "--format", "openvino")
    assert result.exit_code == 2 and "pip install 'jorder-preproc[openvino]'" in result.stderr
    assert not list(tmp_path.iterdir())
