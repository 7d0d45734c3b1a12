import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio
from typer.testing import CliRunner

from evaluation.__main__ import app
from jorder_preproc import derain, synthesize_rain
from jorder_preproc.models import save_weights
from tests.evaluation.images import photograph
from tests.networks import random_network


def second_network():
    other = random_network("jorder_e_lite")
    with torch.no_grad():
        other.stages[-1].heads.residual[1].bias.add_(0.2)
    return other


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph(Path("photos/a.png"), 0)
    photograph(Path("photos/b.png"), 1)
    save_weights(random_network("jorder_e_lite"), "a.safetensors")
    save_weights(second_network(), "b.safetensors")

    def invoke(*arguments):
        options = ["--photos", "photos", "--device", "cpu", "--out", "out"]
        return CliRunner().invoke(app, ["figure", "training-sets", *arguments, *options])

    return invoke


def test_every_network_on_every_rain(run):
    result = run("light=a.safetensors", "heavy=b.safetensors", "--limit", "1", "--seed", "5")
    assert result.exit_code == 0, result.output
    with Path("out/training-sets.csv").open(newline="") as file:
        rows = {row["trained on"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["input", "light", "heavy"]
    pixels = np.array(Image.open("photos/a.png"))
    clean = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    networks = {"light": random_network("jorder_e_lite"), "heavy": second_network()}
    for kind in ("light", "heavy", "rain800"):
        rainy = synthesize_rain(clean, kind, 5, image_id="a.png").rainy
        rainy = (rainy * 255).round() / 255
        for name, row in rows.items():
            restored = rainy if name == "input" else derain(networks[name], rainy).background
            shown = (restored * 255).round().byte().permute(1, 2, 0).numpy()
            expected = peak_signal_noise_ratio(
                rgb2ycbcr(pixels)[..., 0], rgb2ycbcr(shown)[..., 0], data_range=255
            )
            assert float(row[f"{kind} PSNR"]) == pytest.approx(expected, abs=0.01)
    assert rows["light"]["light PSNR"] != rows["heavy"]["light PSNR"]
    # the input, two networks, clean
    sheet = Image.open("out/training-sets.jpg")
    assert sheet.size == (4 * (240 + 6), 26 + 3 * (160 + 26 + 6))


def test_means_over_photographs(run):
    def psnr(*arguments):
        assert run("x=a.safetensors", *arguments).exit_code == 0
        with Path("out/training-sets.csv").open(newline="") as file:
            return [float(row["heavy PSNR"]) for row in csv.DictReader(file)]

    both, first = psnr(), psnr("--limit", "1")
    Path("photos/a.png").unlink()
    second = psnr()
    assert both == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.safetensors",), "networks must be NAME=FILE, the training set and its weights, got"),
        (("x=a.safetensors", "x=b.safetensors"), "two rows have one name, of input, x, x"),
        (("x=c.safetensors",), "c.safetensors is neither"),
        (("x=a.safetensors", "--derainer", "jorder"), "a.safetensors"),
    ],
)
def test_refuses(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not Path("out").exists()
