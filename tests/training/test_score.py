"""The measuring stick: what it measures on, and the numbers it gives."""

import hashlib
import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import roc_auc_score

import training.score
from jorder_preproc.functional import Derained
from jorder_preproc.images import float_to_pixels
from jorder_preproc.metrics import luminance
from jorder_preproc.models import DeveilNetwork, build_model, save_weights
from jorder_preproc.rain import compose, synthesize_rain
from tests.networks import network_that_sees
from training.__main__ import main
from training.score import Score, score, to_markdown
from training.stick import STICK, draw_pairs, read_pairs

LIBRARIES = {
    "albumentations_drizzle": "albumentations",
    "albumentations_heavy": "albumentations",
    "albumentations_torrential": "albumentations",
    "kornia": "kornia",
    "imgaug": "imgaug",
}


@pytest.fixture(scope="module")
def pair_folder(photos, tmp_path_factory):
    """Pairs of five images, of which the k-th is k + 1 levels too bright."""
    folder = tmp_path_factory.mktemp("five_pairs")
    for half in ("rain", "norain"):
        (folder / half).mkdir()
    for k in range(5):
        clean = np.full((16, 16, 3), 100, np.uint8)
        Image.fromarray(clean).save(folder / "norain" / f"{k}.png")
        Image.fromarray(clean + np.uint8(k + 1)).save(folder / "rain" / f"{k}.png")
    return folder


@pytest.mark.parametrize("rain", LIBRARIES)
def test_rain_of_other_libraries_follows_from_seed_and_name(photos, rain):
    pytest.importorskip(LIBRARIES[rain], reason="needs the extra stick")
    first = draw_pairs(rain, str(photos), seed=1)
    draw_pairs.cache_clear()
    before = torch.get_rng_state()
    (alone,) = draw_pairs(rain, str(photos), seed=1, limit=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(alone.rainy, first[0].rainy)
    assert not torch.equal(draw_pairs(rain, str(photos), seed=2)[0].rainy, alone.rainy)
    pixels = np.array(Image.open(photos / "cat.png"))
    assert torch.equal(alone.reference, torch.from_numpy(pixels).permute(2, 0, 1))
    assert (alone.rainy != alone.reference).any()


def test_another_name_gets_other_rain(photos, tmp_path):
    pytest.importorskip("kornia", reason="needs the extra stick")
    pixels = np.array(Image.open(photos / "cat.png"))
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    a, b = draw_pairs("kornia", str(tmp_path), seed=1)
    assert not torch.equal(a.rainy, b.rainy)


def test_albumentations_only_adds_light(photos):
    """Its darkening, on by default, would be counted as rain."""
    pytest.importorskip("albumentations", reason="needs the extra stick")
    for pair in draw_pairs("albumentations_heavy", str(photos), seed=1):
        assert (pair.rainy >= pair.reference).all()


def test_veil_stays_behind_a_derainer(photos):
    (stays, *_), (goes, *_) = (
        draw_pairs("storm", str(photos), seed=1, veil_stays=veil_stays)
        for veil_stays in (True, False)
    )
    clean = torch.from_numpy(np.array(Image.open(photos / "cat.png"))).permute(2, 0, 1)
    assert torch.equal(goes.reference, clean) and torch.equal(goes.rainy, stays.rainy)
    sample = synthesize_rain(clean / 255, "storm", 1, "cat.png")
    nothing = torch.zeros_like(sample.region_mask)
    veiled = compose(
        sample.darkened, nothing, nothing, sample.transmission, sample.atmospheric_light
    )
    torch.testing.assert_close(stays.reference / 255, veiled, atol=0.51 / 255, rtol=0)
    # without a veil both are one
    assert torch.equal(draw_pairs("light", str(photos), seed=1)[0].reference, clean)


def test_dry_images_are_their_own_reference(tmp_path):
    pixels = data.coffee()  # 600 x 400
    Image.fromarray(pixels).save(tmp_path / "cup.png")
    ((dry, reference),) = draw_pairs("dry", str(tmp_path), seed=1)
    assert torch.equal(dry, reference)
    assert torch.equal(dry, torch.from_numpy(pixels).permute(2, 0, 1))
    ((small, reference),) = draw_pairs("dry_256", str(tmp_path), seed=1)
    assert torch.equal(small, reference)
    # 384 x 256, the middle, by hand
    image = Image.fromarray(pixels).resize((384, 256), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.crop((64, 0, 320, 256)).save(file, "JPEG", quality=75)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    assert (small.float() - expected.float()).abs().mean() < 0.5


def test_rain_on_small_images(tmp_path):
    Image.fromarray(data.coffee()).save(tmp_path / "cup.png")
    ((dry, _),) = draw_pairs("dry_256", str(tmp_path), seed=1)
    for rain in ("light", "heavy"):
        ((rainy, reference),) = draw_pairs(f"{rain}_256", str(tmp_path), seed=1)
        assert torch.equal(reference, dry)
        expected = synthesize_rain(dry / 255, rain, 1, "cup.png").rainy
        torch.testing.assert_close(rainy / 255, expected, atol=0.51 / 255, rtol=0)
    assert {"light_256", "heavy_256"} <= set(STICK)


def test_pairs_of_files(pair_folder, tmp_path):
    pairs = read_pairs(str(pair_folder), limit=3)
    assert [int(pair.rainy[0, 0, 0]) for pair in pairs] == [101, 102, 103]
    assert all(int(pair.reference[0, 0, 0]) == 100 for pair in pairs)
    (tmp_path / "rain").mkdir()
    (tmp_path / "norain").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "rain" / "1.png")
    with pytest.raises(ValueError, match="1.png has no clean partner"):
        read_pairs(str(tmp_path))
    Image.new("RGB", (20, 16)).save(tmp_path / "norain" / "1.png")
    with pytest.raises(ValueError, match="is 16x16, its partner .* is 20x16"):
        read_pairs(str(tmp_path))


def restore_by(monkeypatch, change):
    """A derainer that gives `change` of the image."""

    def derain(network, image):
        background = float_to_pixels(change(image / 255), torch.uint8)
        return Derained(background, None, None, None)

    monkeypatch.setattr(training.score, "derain", derain)
    return build_model("jorder_e_lite")


def test_gain_worst_and_unchanged_by_hand(photos, pair_folder, monkeypatch):
    """A derainer that makes images two levels darker, but for those of level 103."""

    def change(image):
        return image if (image[0, 0, 0] * 255).round() == 103 else image - 2 / 255

    network = restore_by(monkeypatch, change)
    (row,) = score(network, str(photos), ["dry"], str(pair_folder))[1:]

    # levels of error: 1 2 3 4 5 before; 1 0 3 2 3 behind, where 0 counts 100 dB
    def decibels(*levels):
        return [
            100.0 if level == 0 else peak_signal_noise_ratio(
                *(luminance(torch.full((3, 16, 16), v / 255)).numpy() for v in (100, 100 + level)),
                data_range=255,
            )
            for level in levels
        ]  # fmt: skip

    before, behind = decibels(1, 2, 3, 4, 5), decibels(1, 0, 3, 2, 3)
    assert row.rain == pair_folder.name and row.images == 5
    assert row.input_psnr == pytest.approx(np.mean(before))
    assert row.psnr == pytest.approx(np.mean(behind))
    gains = np.subtract(behind, before)
    assert row.worst_gain == pytest.approx(gains.min(), abs=1e-6)  # 5 % of five is one
    assert row.unchanged == 0.2


def test_worst_twentieth_of_many(photos, tmp_path, monkeypatch):
    """Of 40 images the two worst count."""
    for half in ("rain", "norain"):
        (tmp_path / half).mkdir()
    for k in range(40):
        Image.new("RGB", (16, 16), (100, 100, 100)).save(tmp_path / "norain" / f"{k}.png")
        Image.new("RGB", (16, 16), (101 + k, 101 + k, 101 + k)).save(tmp_path / "rain" / f"{k}.png")
    network = restore_by(monkeypatch, lambda image: image + 1 / 255)
    row = score(network, str(photos), ["dry"], str(tmp_path))[1]
    # one level more on top of 1, 2, ... levels: the first two lose most
    expected = -20 * np.log10([2 / 1, 3 / 2])
    assert row.worst_gain == pytest.approx(expected.mean(), abs=1e-5)


def test_dry_images_left_alone(photos, monkeypatch):
    network = restore_by(monkeypatch, lambda image: image + 0.4 / 255)  # less than a file holds
    (row,) = score(network, str(photos), ["dry"])
    assert (row.psnr, row.ssim, row.unchanged) == (100, 1, 1)
    network = restore_by(monkeypatch, lambda image: (image * 255 - 1).clamp(min=0) / 255)
    (row,) = score(network, str(photos), ["dry"])
    assert row.unchanged == 0 and 47 < row.psnr < 51


def test_auc_of_a_network_that_can_tell(photos, monkeypatch):
    """Against the dry images of the same size."""
    network = network_that_sees(0.35)
    rains = ["light", "heavy_256", "dry", "dry_256"]
    light, heavy, dry, dry_small = score(network, str(photos), rains)
    assert dry.auc is None and dry_small.auc is None
    for row, clean in ((light, "dry"), (heavy, "dry_256")):
        # its probability grows with the brightness
        levels = [
            [pair.rainy.double().mean().item() for pair in draw_pairs(rain, str(photos), 1)]
            for rain in (clean, row.rain)
        ]
        assert row.auc == roc_auc_score([0, 0, 1, 1], [*levels[0], *levels[1]])
    (alone,) = score(network, str(photos), ["light"])
    assert alone.auc is None
    assert (
        score(build_model("jorder_e_practical").eval(), str(photos), ["light", "dry"])[0].auc
        is None
    )


def test_rows_of_each_kind_of_network(photos, monkeypatch):
    asked = []

    def draw(rain, photos, seed, limit, veil_stays):
        asked.append((rain, veil_stays))
        return draw_pairs("dry", photos, seed, 1)

    monkeypatch.setattr(training.score, "draw_pairs", draw)
    score(restore_by(monkeypatch, lambda image: image), str(photos))
    assert asked == [(rain, True) for rain in STICK]
    assert set(LIBRARIES) <= set(STICK)
    asked.clear()
    score(DeveilNetwork("jorder_deveil_lite"), str(photos))
    assert asked == [("dry", False), ("accumulation", False)]


def test_table():
    rainy = Score("light", 30, 25.0, 0.8, 35.5, 0.95, -0.25, 0.0, 0.99871)
    dry = Score("dry", 30, 100.0, 1.0, 55.0, 0.999, -60.0, 0.9, None)
    lines = to_markdown([rainy, dry]).splitlines()
    rainy_row = "| light | 30 | 25.00 | 35.50 | +10.50 | -0.25 | 0.8000 | 0.9500 | 0.0 % | 0.9987 |"
    assert lines[2] == rainy_row
    assert lines[3] == "| dry | 30 | - | 55.00 | - | 40.00 | - | 0.9990 | 90.0 % | - |"
    assert len({line.count("|") for line in lines}) == 1


def test_command_appends_a_line_for_each_checkpoint(photos, pair_folder, tmp_path, capsys):
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        save_weights(build_model("jorder_e_lite"), tmp_path / f"{name}.safetensors")
    (tmp_path / "b.json").write_text(json.dumps({"iterations": 1200}))
    lines = tmp_path / "curve.jsonl"
    command = ["score", str(photos), "--rains", "light", "dry", "--photos-limit", "1"]
    command += ["--pairs", str(pair_folder), "--json", str(lines), "--weights"]
    assert main([*command, str(tmp_path / "a.safetensors")]) == 0
    files = [str(tmp_path / f"{name}.safetensors") for name in ("b", "a")]
    assert main([*command, *files]) == 0
    assert capsys.readouterr().out.count("| light | 1 |") == 3
    first, second, third = (json.loads(line) for line in lines.read_text().splitlines())
    assert (first["iteration"], second["iteration"]) == (None, 1200)
    digest = hashlib.sha256((tmp_path / "b.safetensors").read_bytes()).hexdigest()
    assert second["sha256"] == digest != first["sha256"]
    assert [row["rain"] for row in second["rows"]] == ["light", "dry", pair_folder.name]
    assert all(row["images"] == 1 for row in second["rows"])
    assert third["rows"] == first["rows"]  # the same every time
    assert {"model", "weights", "date", "seconds", "seed"} <= first.keys()


def test_mistakes_are_named(photos, tmp_path, capsys):
    assert main(["score", str(photos), "--photos-limit", "0"]) == 2
    assert "at least 1, got 0" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["score", str(photos), "--json", str(tmp_path / "file/new/a.jsonl")]) == 2
    assert "file: not a folder); choose another folder" in capsys.readouterr().err
    assert main(["score", str(photos), "--weights", str(tmp_path / "none")]) == 2
    assert "weights must be" in capsys.readouterr().err
    with pytest.raises(ValueError, match="unknown rain 'drizzle'; choose from light"):
        draw_pairs("drizzle", str(photos), seed=1)


def test_a_missing_library_is_named(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    draw_pairs.cache_clear()
    with pytest.raises(ValueError, match=r"kornia needs that library .*\[stick\]"):
        draw_pairs("kornia", str(photos), seed=1)
