import csv
import json

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.figures.recurrence import draw_recurrence, keep_stages, read_blocks, study_stages
from jorder_preproc import derain, synthesize_rain
from jorder_preproc.functional.derain import region_gate
from jorder_preproc.metrics import luminance
from jorder_preproc.models import save_weights
from tests.evaluation.images import photograph
from tests.networks import random_network

MODEL = "jorder_e_practical"
TABLE = {
    "rows": [
        {"row": "K = 1", "blocks": 1, "psnr": 20.5, "ssim": 0.5},
        {"row": "K = 2", "blocks": 2, "psnr": 21.25, "ssim": 0.625},
    ],
    "input": {"psnr": 12.0, "ssim": 0.25},
    "images": 3,
    "settings": {"channels": 16, "iterations": 3000, "rain": "heavy"},
}


def test_a_network_stops_after_its_first_stages():
    network = random_network(MODEL)
    rainy = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(1))
    first, last = network(rainy[None])
    for stages, output in ((1, first), (2, last)):
        # what `derain` does with the stage that it takes for the last
        gate = region_gate(output.mask_logits.softmax(1)[:, 1:])
        expected = (rainy + gate * (output.background - rainy)).clamp(0, 1)[0].detach()
        result = derain(keep_stages(network, stages), rainy).background
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    assert len(network.stages) == 2


@pytest.mark.parametrize("stages", [0, 3])
def test_no_other_stages(stages):
    with pytest.raises(ValueError, match=f"jorder_e_practical has 2 stages, got {stages}"):
        keep_stages(random_network(MODEL), stages)


def test_stages_are_scored_as_scikit_image_does(tmp_path):
    pixels = photograph(tmp_path / "a.png", 0)
    clean = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    network = random_network(MODEL)
    grid = study_stages(network, {"a.png": lambda: clean}, preset="light", seed=2)
    rainy = synthesize_rain(clean, "light", 2, image_id="a.png").rainy
    rainy = (rainy * 255).round() / 255
    images = [rainy]
    images += [derain(keep_stages(network, n), rainy).background for n in (1, 2)]
    assert [row[0] for row in grid.rows] == ["input", "1", "2"]
    for row, image in zip(grid.rows, images, strict=True):
        image = (image * 255).round() / 255
        psnr = peak_signal_noise_ratio(
            luminance(clean).numpy(), luminance(image).numpy(), data_range=255
        )
        assert row[1] == pytest.approx(psnr, abs=0.01)


def test_command_reads_the_ablation(tmp_path):
    photograph(tmp_path / "photos/a.png", 0)
    (tmp_path / "runs").mkdir()
    save_weights(random_network(MODEL), tmp_path / "a.safetensors")
    (tmp_path / "runs/table_21.json").write_text(json.dumps(TABLE))
    result = CliRunner().invoke(
        app,
        [
            *("figure", "recurrence", str(tmp_path / "photos"), "--runs", str(tmp_path / "runs")),
            *("--derainer", MODEL, "--derainer-weights", str(tmp_path / "a.safetensors")),
            *("--device", "cpu", "--out", str(tmp_path / "out")),
        ],
    )
    assert result.exit_code == 0, result.output
    with (tmp_path / "out/recurrence.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["K", "PSNR", "SSIM"],
        ["input", "12.0", "0.25"],
        ["1", "20.5", "0.5"],
        ["2", "21.25", "0.625"],
    ]
    text = (tmp_path / "out/recurrence.md").read_text()
    assert "| 2 | 21.25 | 0.6250 |" in text and "C = 16, 3000 iterations, 3 photographs" in text
    with (tmp_path / "out/recurrence_2.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["stages", "input", "1", "2"]
    assert (tmp_path / "out/recurrence.png").stat().st_size < 200_000


def test_without_runs_there_are_stages_alone(tmp_path):
    photograph(tmp_path / "photos/a.png", 0)
    result = CliRunner().invoke(
        app,
        [
            *("figure", "recurrence", str(tmp_path / "photos"), "--device", "cpu"),
            *("--out", str(tmp_path / "out")),
        ],
    )
    assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"recurrence.csv", "recurrence.md", "recurrence.png"}


def test_curves_hold_the_numbers(tmp_path):
    (tmp_path / "table_21.json").write_text(json.dumps(TABLE))
    figure = draw_recurrence({"blocks K": read_blocks(tmp_path)})
    psnr, ssim = figure.axes
    assert psnr.get_xlabel() == "blocks K"
    np.testing.assert_array_equal(psnr.lines[0].get_xydata(), [[1, 20.5], [2, 21.25]])
    np.testing.assert_array_equal(ssim.lines[0].get_xydata(), [[1, 0.5], [2, 0.625]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("not JSON", "is no table of recurrences"),
        (
            json.dumps({**TABLE, "rows": [{"row": "RSB", "blocks": None, "psnr": 1, "ssim": 1}]}),
            "is no table of",
        ),
        (json.dumps({**TABLE, "input": None}), "is no table of recurrences"),
    ],
)
def test_other_folders_are_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "table_21.json").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        read_blocks(tmp_path)
    assert f"python -m training.ablation --table 21 --out {tmp_path}" in str(raised.value)
