"""The threshold below which images are left alone: the rule, and the command."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from jorder_preproc.models import build_model, load_model, save_weights
from jorder_preproc.models.shipped import JorderELite_Weights
from jorder_preproc.rain import synthesize_rain
from tests.networks import network_that_sees
from training.__main__ import main
from training.calibrate import FORMS, RAINS, auc, choose_threshold, describe, measure


def probabilities(light=(0.9,), heavy=(0.99,), dry=(0.9,), **of_form):
    """`light`, `heavy` and `dry` in all forms, or `light_256=` and so on in one."""
    found = {(rain, form): torch.tensor([0.1, 0.2]).double() for rain in RAINS for form in FORMS}
    for rain, values in (("light", light), ("heavy", heavy), ("dry", dry)):
        for form in FORMS:
            chosen = of_form.get(f"{rain}_{form}", values)
            found[rain, form] = torch.tensor(chosen, dtype=torch.float64)
    return found


def test_threshold_by_hand():
    assert choose_threshold(probabilities(light=[0.3, 0.2, 0.8])) == 0.2
    # of 100 one may be left alone, of 99 none, of 250 two
    many = np.linspace(0.21, 0.4, 250)
    for number, below in ((100, 1), (99, 0), (250, 2)):
        values = many[:number]
        found = choose_threshold(probabilities(light=values))
        assert found == values[below]
        assert (values < values[below]).mean() <= 0.01
    # of heavy rain none, however many there are
    assert choose_threshold(probabilities(heavy=[0.05, *many])) == 0.05


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rain", ["light", "heavy"])
def test_every_form_counts(rain, form):
    found = choose_threshold(probabilities(**{f"{rain}_{form}": [0.02, 0.9]}))
    assert found == 0.02


def test_lowest_that_leaves_dry_photographs_alone():
    dry = [0.2] * 97 + [0.95] * 3  # of which 3 % may be derained
    assert choose_threshold(probabilities(dry=dry)) == 0.21
    assert choose_threshold(probabilities(light=[0.205], dry=dry)) == 0.205
    assert choose_threshold(probabilities(light=[0.45], dry=[*dry, 0.95])) == 0.45
    for form in FORMS:
        found = probabilities(dry=[0.2], **{f"dry_{form}": [0.3149] * 29 + [0.95]})
        assert choose_threshold(found) == 0.5
        found = probabilities(dry=[0.2], **{f"dry_{form}": [0.3149] * 39 + [0.95]})
        assert choose_threshold(found) == 0.32
    # certainty on either side
    assert choose_threshold(probabilities(light=[1.0], heavy=[1.0], dry=[0.0])) == 0.01


def test_nothing_that_is_likely_rain_is_left_alone():
    assert choose_threshold(probabilities(light=[1.0], heavy=[1.0])) == 0.5
    assert choose_threshold(probabilities(light=[0.0])) == 0


def test_auc_matches_sklearn():
    rng = np.random.default_rng(0)
    dry, rainy = rng.integers(0, 7, 40) / 10, rng.integers(3, 10, 25) / 10  # with many equal ones
    expected = roc_auc_score([0] * 40 + [1] * 25, [*dry, *rainy])
    assert auc(torch.from_numpy(dry), torch.from_numpy(rainy)) == pytest.approx(expected)
    assert 0.5 < expected < 1


def test_rows_by_hand():
    found = {
        ("dry", "native"): torch.tensor([0.1, 0.3]),
        ("light", "native"): torch.tensor([0.2, 0.4, 0.3, 0.9]),
    }
    dry, light = describe(found, 0.3)
    assert (dry.images, dry.left_alone, dry.auc) == (2, 0.5, None)
    assert (light.images, light.left_alone) == (4, 0.25)
    assert light.auc == (4 + 2.5) / 8  # above 0.1 all; above 0.3 two, and one equal
    assert (light.lowest, light.highest) == pytest.approx((0.2, 0.9))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Dark photographs, which rain makes brighter."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 40, (144, 176, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def measured(photos):
    return measure(network_that_sees(0.09), str(photos))


def test_measures_the_same_images_dry_and_in_rain(photos, measured):
    assert set(measured) == {(rain, form) for rain in ("dry", *RAINS) for form in FORMS}
    numbers = {form: len(measured["light", form]) for form in FORMS}
    assert numbers == {"native": 2, "256": 2, "windows": 16}
    clean = torch.from_numpy(np.array(Image.open(photos / "1.png"))).permute(2, 0, 1) / 255
    rainy = synthesize_rain(clean, "light", 2, "1.png").rainy
    for rain, image in (("dry", clean), ("light", rainy)):
        brightness = (image * 255).round().mean() / 255
        expected = torch.sigmoid(100 * (brightness - 0.09)).item()
        assert measured[rain, "native"][1].item() == pytest.approx(expected, rel=1e-4)
    for form in FORMS:
        assert measured["dry", form].max() < 0.5
        # light rain may miss a window, and adds nothing there
        assert (measured["light", form] >= measured["dry", form] - 0.02).all()
        assert (measured["heavy", form] > measured["light", form]).all()
        assert measured["heavy", form].min() > 0.99
    again = measure(network_that_sees(0.09), str(photos))
    assert all(torch.equal(again[key], measured[key]) for key in measured)
    assert measured["dry", "windows"].unique().numel() > 8


def test_command_writes_the_threshold_alone(photos, measured, tmp_path, capsys):
    path, numbers = tmp_path / "sees.safetensors", tmp_path / "numbers.json"
    save_weights(network_that_sees(0.09), path, torch.float16)
    before = load_file(path)
    command = ["calibrate", str(path), str(photos), "--model", "jorder_e_lite"]
    assert main([*command, "--json", str(numbers)]) == 0
    threshold = load_model("jorder_e_lite", path).dry_threshold
    assert threshold == pytest.approx(choose_threshold(measured), rel=0.02)  # of float16
    assert 0.1 < threshold < 0.45  # it was 0.5
    after = load_file(path)
    assert before.keys() == after.keys()
    assert all(after[key].dtype == torch.float16 for key in after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [file.name for file in tmp_path.iterdir() if "sees" in file.name] == [path.name]
    record = json.loads(numbers.read_text())
    assert record["dry_threshold"] == threshold
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    rows = {(row["rain"], row["form"]): row for row in record["rows"]}
    assert len(rows) == 15
    assert all(rows["heavy", form]["left_alone"] == 0 for form in FORMS)
    assert all(rows["light", form]["left_alone"] <= 0.01 for form in FORMS)
    printed = capsys.readouterr().out
    assert "| light | windows | 16 | 0.0 % |" in printed
    assert f"Wrote the threshold {threshold:.4g} to {path}" in printed


def test_mistakes_are_named(photos, tmp_path, capsys):
    shipped = JorderELite_Weights.DEFAULT.file
    before = shipped.read_bytes()
    assert main(["calibrate", str(shipped), str(photos)]) == 2
    assert "are shipped weights, which are known by their digest; calibrate a copy" in (
        capsys.readouterr().err
    )
    assert shipped.read_bytes() == before
    path = tmp_path / "blind.safetensors"
    save_weights(build_model("jorder_e_practical"), path)
    content = path.read_bytes()
    for arguments, message in (
        ([str(path), str(photos)], "jorder_e_practical cannot tell whether it rains; use one of"),
        ([str(path), str(tmp_path / "none")], "no images"),
        ([str(path), str(photos), "--photos-limit", "0"], "at least 1, got 0"),
        ([str(tmp_path / "no"), str(photos)], "weights must be"),
    ):
        assert main(["calibrate", *arguments, "--model", "jorder_e_practical"]) == 2
        assert message in capsys.readouterr().err
    assert path.read_bytes() == content
