import csv
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d, pixel_unshuffle
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.figures import features
from evaluation.figures.features import (
    CROP_PX,
    crop_centre,
    find_features,
    mean_correlation,
    mosaic,
    strongest,
    study_features,
)
from jorder_preproc import synthesize_rain
from jorder_preproc.models import encoder_decoder, jorder, save_weights
from tests.evaluation.images import photograph
from tests.networks import random_network


def test_strongest_maps_vary_most():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(6, 5, 4)) * np.array([3, 1, 6, 2, 5, 4])[:, None, None]
    # a constant is strong in no sense
    features[1] += 100
    order = np.argsort(-features.reshape(6, -1).var(1))
    assert order.tolist()[0] == 2
    result = strongest(torch.from_numpy(features))
    np.testing.assert_array_equal(result.numpy(), features[order])
    assert strongest(torch.rand(40, 3, 3)).shape == (24, 3, 3)


def test_correlation_is_that_of_numpy():
    generator = np.random.default_rng(1)
    target = generator.random((6, 7))
    maps = np.stack([generator.random((6, 7)), -2 * target + 1, target + generator.random((6, 7))])
    expected = np.mean([abs(np.corrcoef(m.ravel(), target.ravel())[0, 1]) for m in maps])
    result = mean_correlation(torch.from_numpy(maps), torch.from_numpy(target))
    assert result == pytest.approx(expected, abs=1e-12)
    assert mean_correlation(torch.ones(2, 6, 7), torch.from_numpy(target)) == 0


@pytest.mark.parametrize(("name", "fold"), [("jorder_e_practical", 1), ("jorder_e_lite", 2)])
@torch.inference_mode()
def test_features_are_those_of_the_layers(name, fold, monkeypatch):
    # large features are computed in strips, in place
    monkeypatch.setattr(jorder, "_VALUES_OF_HEADS", 1)
    monkeypatch.setattr(encoder_decoder, "_VALUES_AT_ONCE", 1)
    network = random_network(name)
    rainy = torch.rand(3, 176, 24, generator=torch.Generator().manual_seed(2))
    found = find_features(network, rainy)
    encoder = network.stages[0].encoder
    both = torch.cat([rainy, rainy])[None]  # the estimate before the first stage is the image
    folded = pixel_unshuffle(both, fold)[:, : encoder.weight.shape[1]]
    expected = conv2d(folded, encoder.weight, encoder.bias, padding=1)[0]
    torch.testing.assert_close(found.first, expected, rtol=1e-4, atol=1e-4)
    # F is what the heads make R of, together with the R of the stage before
    outputs = network(rainy[None])
    head = network.stages[-1].heads.mask(found.last[None])
    *before, after = (pixel_unshuffle(stage.mask_logits, fold) for stage in outputs)
    torch.testing.assert_close(sum(before, head), after, rtol=1e-3, atol=1e-3)
    logits = outputs[-1].mask_logits[0]
    expected = 1 / (1 + torch.exp(logits[0] - logits[1]))
    torch.testing.assert_close(found.mask[0], expected, rtol=1e-4, atol=1e-4)
    assert not any(module._forward_hooks for module in network.modules())


def test_networks_without_a_mask_have_none():
    rainy = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(2))
    release = random_network("jorder_e_practical", "release")
    assert find_features(release, rainy).mask is None


def test_mosaic_stretches_every_map():
    maps = torch.stack([torch.zeros(4, 4), torch.linspace(-3, 5, 16).view(4, 4)])
    image = mosaic(maps)
    assert image.shape == (1, 370, 370)
    assert (image[0, :72, :72] == 0).all()
    second = image[0, :72, 74:146]
    assert (second[0, 0], second[-1, -1]) == (0, 1)
    # 24 maps at most: what is left is white
    assert (image[0, 296:, 296:] == 1).all()


@pytest.mark.parametrize(
    ("shape", "multiple", "side"),
    [((300, 451), 2, CROP_PX), ((41, 60), 2, 40), ((200, 200), 4, 148)],
)
def test_crop_is_in_the_middle(shape, multiple, side):
    image = torch.arange(shape[0] * shape[1]).view(1, *shape)
    crop = crop_centre(image, multiple)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    assert crop.shape == (1, side, side)
    assert crop[0, 0, 0] == top * shape[1] + left


def test_a_speck_cannot_be_cropped():
    with pytest.raises(ValueError, match="at least 2 x 2 px are needed, got 5 x 1"):
        crop_centre(torch.zeros(3, 1, 5), 2)


def test_table_and_sheet(tmp_path):
    pixels = photograph(tmp_path / "photos/a.png", 0, (40, 60))
    save_weights(random_network("jorder_e_lite"), tmp_path / "a.safetensors")
    other = random_network("jorder_e_lite")
    with torch.no_grad():
        other.stages[0].encoder.weight.mul_(-1).add_(0.1)
    save_weights(other, tmp_path / "b.safetensors")
    result = CliRunner().invoke(
        app,
        [
            *("figure", "features", str(tmp_path / "photos"), "--device", "cpu", "--seed", "4"),
            *("--derainer-weights", str(tmp_path / "a.safetensors"), "--preset", "light"),
            *("--without-detection", str(tmp_path / "b.safetensors")),
            *("--out", str(tmp_path / "out")),
        ],
    )
    assert result.exit_code == 0, result.output
    with (tmp_path / "out/features.csv").open(newline="") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    clean = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    sample = synthesize_rain(clean, "light", 4, image_id="a.png")
    rainy = ((sample.rainy * 255).round() / 255)[:, :, 10:50]
    streaks = sample.streak_map[:, :, 10:50].mean(0).numpy()
    streaks = streaks.reshape(20, 2, 20, 2).mean((1, 3))  # features are folded by 2
    for name, network in (("jorder_e_lite", random_network("jorder_e_lite")), ("without", other)):
        title = "without detection loss" if name == "without" else name
        for layer in ("first", "last"):
            maps = getattr(find_features(network, rainy), layer).flatten(1).numpy()
            maps = maps[np.argsort(-maps.var(1))[:24]]
            expected = np.mean([abs(np.corrcoef(m, streaks.ravel())[0, 1]) for m in maps])
            got = float(rows[f"{title}, {layer} layer"]["|r| with streaks"])
            assert got == pytest.approx(expected, abs=1e-3)
    assert len(rows) == 4
    sheet = Image.open(tmp_path / "out/features.jpg")
    assert sheet.width > 4 * 200


def test_photographs_come_one_after_the_other(network, monkeypatch):
    steps = []

    def load(name):
        steps.append(name)
        return torch.rand(3, 30, 30)

    def found(*arguments):
        steps.append("features")
        return find_features(*arguments)

    monkeypatch.setattr(features, "find_features", found)
    study_features({"n": network}, {name: partial(load, name) for name in "ab"}, preset="light")
    assert steps == ["a", "features", "b", "features"]


def test_unknown_rain_is_refused(tmp_path):
    result = CliRunner().invoke(
        app,
        [
            "figure",
            "features",
            "--preset",
            "frogs",
            "--device",
            "cpu",
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert result.exit_code == 2
    assert "unknown preset 'frogs'" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
