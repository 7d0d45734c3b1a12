"""`figure masks`, `figure texture` and `figure types`, on tiny images."""

import csv
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.figures import masks
from evaluation.figures.drawing import save_figure
from evaluation.figures.rain_types import TYPES
from evaluation.report.grid import Grid
from jorder_preproc import derain, synthesize_rain
from jorder_preproc.models import jorder, save_weights
from tests.networks import random_deveil_network, random_network


def photograph(seed: int, size=(34, 45)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(photograph(seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def network_file(tmp_path):
    save_weights(random_network("jorder_e_lite"), tmp_path / "derainer.safetensors")
    return tmp_path / "derainer.safetensors"


@pytest.fixture
def run(tmp_path, photos, network_file):
    """Run a command on the photographs and return the rows of its table."""

    def run(name, *arguments):
        out = tmp_path / "out"
        words = [
            "figure",
            name,
            photos,
            "--derainer-weights",
            network_file,
            "--device",
            "cpu",
            "--out",
            out,
        ]
        result = CliRunner().invoke(app, list(map(str, [*words, *arguments])))
        assert result.exit_code == 0, result.output
        with (out / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return run


def random_mask(seed=0, size=(24, 31)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 2)
    return noise > 0.05


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_inverting_changes_that_share_of_the_pixels(share):
    mask = random_mask()
    changed = masks.invert(mask, share, np.random.default_rng(0))
    assert (changed != mask).sum() == round(share * mask.size)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_dilation_and_erosion_stay_between_the_rings_of_scipy(share):
    mask, rng = random_mask(), np.random.default_rng(0)
    count = round(share * mask.sum())
    for change, ring, sign in (
        (masks.dilate, ndimage.binary_dilation, 1),
        (masks.erode, lambda m, s: ~ndimage.binary_dilation(~m, s), -1),
    ):
        changed = change(mask, share, rng=rng)
        assert int(changed.sum()) - int(mask.sum()) == sign * count
        inner, outer = mask, ring(mask, np.ones((3, 3)))
        while abs(int(outer.sum()) - int(mask.sum())) < count:
            inner, outer = outer, ring(outer, np.ones((3, 3)))
        if sign > 0:
            assert (changed[inner]).all() and not (changed & ~outer).any()
        else:
            assert changed[outer].all() and not (changed & ~inner).any()


@pytest.mark.parametrize("change", [masks.dilate, masks.erode])
def test_an_empty_mask_stays_empty(change):
    assert not change(np.zeros((5, 6), bool), 0.3, rng=np.random.default_rng(0)).any()


def test_detection_scores_are_those_of_scikit_learn():
    found, true = random_mask(0), random_mask(1)
    expected = [
        score(true.ravel(), found.ravel())
        for score in (precision_score, recall_score, f1_score, jaccard_score)
    ]
    np.testing.assert_allclose(masks.detection_scores(masks.confusion(found, true)), expected)
    assert masks.detection_scores(np.zeros(3, np.int64)) == [None] * 4


@pytest.mark.parametrize("name", ["jorder", "jorder_e_lite"])
def test_a_given_mask_takes_the_place_of_every_stage_s_own(name, monkeypatch):
    monkeypatch.setattr(jorder, "_VALUES_OF_HEADS", 1)  # as in large images
    network = random_network(name)
    # a small image, which is not padded
    rainy = to_tensor(photograph(3, (176, 32)))
    logits = masks.detect(network, rainy)
    given = torch.stack([torch.full((1, 176, 32), 3.0), torch.full((1, 176, 32), -1.0)], 1)
    with masks.mask_in_place(network, given), torch.inference_mode():
        for stage in network(rainy[None]):
            assert torch.equal(stage.mask_logits, given)
    # and is gone afterwards
    assert torch.equal(masks.detect(network, rainy), logits)


def test_no_rain_in_the_mask_shuts_the_gate():
    network = random_network("jorder_e_lite")
    rainy = to_tensor(photograph(3, (32, 48)))
    sure = torch.cat([torch.full((1, 1, 32, 48), 40.0), torch.full((1, 1, 32, 48), -40.0)], 1)
    nothing = masks.derain_with_mask(network, rainy, sure, np.zeros((32, 48), bool))
    torch.testing.assert_close(nothing, rainy, atol=1e-6, rtol=0)
    everything = masks.derain_with_mask(network, rainy, sure, np.ones((32, 48), bool))
    assert (everything - rainy).abs().max() > 0.05


def test_a_single_stage_with_its_own_mask_derains_as_ever():
    network = random_network("jorder")
    rainy = to_tensor(photograph(3, (32, 48)))
    logits = masks.detect(network, rainy)
    own = (logits[0, 1] > logits[0, 0]).numpy()
    same = masks.derain_with_mask(network, rainy, logits, own)
    torch.testing.assert_close(same, derain(network, rainy).background)


def test_masks_need_a_network_that_finds_rain_and_a_fitting_size():
    release = random_network("jorder_e_lite", "release")
    with pytest.raises(ValueError, match="does not mean rain"):
        masks.study_masks(release, {})
    network = random_network("jorder_e_lite")
    with (
        masks.mask_in_place(network, torch.zeros(1, 2, 32, 32)),
        pytest.raises(ValueError, match="the given R is for features"),
    ):
        derain(network, torch.zeros(3, 40, 40))


def test_masks_writes_both_tables(run, tmp_path):
    rows = run("masks", "--limit", 1)
    assert [row["mask"] for row in rows] == list(masks.CHANGES)
    with (tmp_path / "out/masks_2.csv").open(newline="") as file:
        detected = {row["rain"]: row for row in csv.DictReader(file)}
    network = random_network("jorder_e_lite")
    clean = to_tensor(photograph(0))
    sample = synthesize_rain(clean, "heavy", 1, image_id="0.png")
    rainy = ((sample.rainy * 255).round() / 255)[:, :32, :40]
    found = derain(network, rainy, with_region_mask=True).region_mask.numpy().ravel() > 0.5
    true = sample.region_mask[:, :32, :40].numpy().ravel() > 0.5
    assert float(detected["heavy"]["IoU"]) == pytest.approx(jaccard_score(true, found))


def half(rainy):
    """A derainer for `--method`."""
    return rainy / 2


def test_texture_s_errors_are_the_means_over_pixels(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "half_module", sys.modules[__name__])
    rows = run("texture", "--method", "half=half_module:half", "--seed", 4)
    assert [row["mean error"] for row in rows][::2] == ["input", "half"]
    errors = {"input": {1: [], 0: []}, "half": {1: [], 0: []}}
    for number in range(2):
        clean = photograph(number).astype(float)
        sample = synthesize_rain(to_tensor(photograph(number)), "light", 4, f"{number}.png")
        rainy = np.rint(sample.rainy.permute(1, 2, 0).numpy() * 255)
        for name, restored in (("input", rainy), ("half", np.rint(rainy / 2))):
            error = np.abs(restored - clean).mean(-1)
            for rain in (0, 1):
                errors[name][rain] += list(error[sample.region_mask[0].numpy() == rain])
    for row in (rows[0], rows[2]):
        for rain, column in ((1, "light, rain"), (0, "light, rest")):
            expected = np.mean(errors[row["mean error"]][rain])
            assert float(row[column]) == pytest.approx(expected, abs=0.02)


def test_a_sheet_is_made_as_small_as_it_must_be(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    whole = save_figure(Image.fromarray(noise), tmp_path / "whole")
    small = save_figure(Image.fromarray(noise), tmp_path / "small", 35_000)
    assert whole.stat().st_size > 35_000 >= small.stat().st_size
    assert Image.open(whole).size == (400, 300) and Image.open(small).width < 400


def test_types_takes_the_veil_off_where_there_is_one(run, tmp_path):
    save_weights(random_deveil_network(), tmp_path / "deveil.safetensors")
    rows = run("types", "--deveil-weights", tmp_path / "deveil.safetensors", "--limit", 1)
    assert [row["rain"] for row in rows] == ["occluding", "accumulated", "veiling", "sparkling"]
    veiled = [row["rain"] for row in rows if row["PSNR derained+deveil"]]
    assert veiled == ["accumulated", "veiling"]


def test_the_four_types_are_what_their_names_say():
    grey = torch.full((3, 120, 160), 0.5)
    samples = {k: synthesize_rain(grey, preset, 0, "grey") for k, preset in TYPES.items()}
    layers = {k: s.parameters["layers"] for k, s in samples.items()}
    assert all(layer["blended"] for layer in layers["occluding"])
    assert layers["accumulated"] == [] and not samples["accumulated"].region_mask.any()
    assert len(layers["veiling"]) >= 3
    assert [k for k, preset in TYPES.items() if preset.accumulation] == ["accumulated", "veiling"]
    # bright and sparse specks, each of few pixels
    specks, count = ndimage.label(samples["sparkling"].region_mask[0].numpy(), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(specks), specks, range(1, count + 1))
    assert np.median(sizes) < 40 and samples["sparkling"].region_mask.mean() < 0.05
    assert samples["sparkling"].streak_map.max() > 0.4


def test_a_grid_is_written_in_full_and_shown_rounded():
    grid = Grid(["a|b", "x"], [["one", 0.123456], ["two", None]], {"x": 2}, "A note.")
    assert grid.comma_separated() == "a|b,x\none,0.123456\ntwo,\n"
    assert grid.markdown().splitlines() == [
        "| a\\|b | x |",
        "| --- | ---: |",
        "| one | 0.12 |",
        "| two | - |",
        "",
        "A note.",
    ]
