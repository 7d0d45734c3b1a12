import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.datasets.photos import built_in_photographs, find_photographs
from evaluation.figures import order as order_module
from evaluation.figures.contact_sheet import GAP_PX, draw_sheet
from evaluation.figures.order import ORDERS, compare_orders
from jorder_preproc import derain, synthesize_rain
from jorder_preproc.models import save_weights
from jorder_preproc.models.shipped import JorderELite_Weights
from tests.networks import random_deveil_network, random_network

NAMES = [
    "input",
    "derain",
    "derain-derain",
    "derain-deveil",
    "deveil-derain",
    "derain-deveil-derain",
]


def photograph(path: Path, seed: int, size=(40, 60)) -> np.ndarray:
    """Smooth uint8 RGB, as a file without loss."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return np.array(image)


@pytest.fixture
def photos(tmp_path):
    for seed, name in enumerate(("a.png", "b.png", "sub/a.png")):
        photograph(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


@pytest.fixture
def order(tmp_path):
    """Run the command with random networks on the CPU."""
    save_weights(random_network("jorder_e_lite"), tmp_path / "derainer.safetensors")
    save_weights(random_deveil_network(), tmp_path / "deveil.safetensors")

    def run(*arguments):
        options = ["--derainer-weights", tmp_path / "derainer.safetensors", "--device", "cpu"]
        options += ["--deveil-weights", tmp_path / "deveil.safetensors", "--out", tmp_path / "out"]
        return CliRunner().invoke(app, ["figure", "order", *map(str, [*arguments, *options])])

    return run


def rows_of(out):
    with (out / "order_images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def luminance(pixels: np.ndarray) -> np.ndarray:
    return rgb2ycbcr(pixels)[..., 0]


def test_the_orders_are_those_of_the_figure():
    assert ["-".join(order) for order in ORDERS] == NAMES[1:]


def test_scores_are_those_of_scikit_image(order, photos, tmp_path):
    result = order(photos, "--preset", "light", "--seed", 3, "--limit", 1)
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "out")
    assert [(row["image"], row["order"]) for row in rows] == [("a.png", name) for name in NAMES]

    clean = np.array(Image.open(photos / "a.png"))
    image = torch.from_numpy(clean).permute(2, 0, 1) / 255
    rainy = (synthesize_rain(image, "light", 3, image_id="a.png").rainy * 255).round() / 255
    for row in rows:
        restored = rainy
        if row["order"] != "input":
            steps = row["order"].split("-")
            options = {"order": steps}
            if "deveil" in steps:
                options |= {"deveil": True, "deveil_model": random_deveil_network()}
            restored = derain(random_network("jorder_e_lite"), rainy, **options).background
        pixels = (restored * 255).round().byte().permute(1, 2, 0).numpy()
        ours, truth = luminance(pixels), luminance(clean)
        psnr = peak_signal_noise_ratio(truth, ours, data_range=255)
        ssim = structural_similarity(
            truth,
            ours,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        # one thread or several may round differently
        assert float(row["PSNR"]) == pytest.approx(psnr, abs=0.01)
        assert float(row["SSIM"]) == pytest.approx(ssim, abs=1e-3)
    assert len({row["PSNR"] for row in rows}) == len(NAMES)


def test_every_photograph_and_order_has_a_row(order, photos, tmp_path):
    result = order(photos)
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "out")
    images = ["a.png", "b.png", "sub/a.png"]
    assert [(r["image"], r["order"]) for r in rows] == [(i, n) for i in images for n in NAMES]
    table = (tmp_path / "out/order.md").read_text().splitlines()
    for name, line in zip(NAMES, table[2:8], strict=True):
        own = [row for row in rows if row["order"] == name]
        psnr = np.mean([float(row["PSNR"]) for row in own])
        ssim = np.mean([float(row["SSIM"]) for row in own])
        assert line == f"| {name} | {psnr:.2f} | {ssim:.4f} |"
        assert f"{psnr:.2f} │ {ssim:.4f} │" in result.stdout
    # input, five orders, clean; a line of titles, and one of captions under each photograph
    sheet = Image.open(tmp_path / "out/order.jpg")
    assert sheet.size == (7 * (240 + GAP_PX), 26 + 3 * (160 + 26 + GAP_PX))


def test_results_among_the_photographs_are_not_photographs(photos):
    photograph(photos / "results/order.jpg", 0)
    assert set(find_photographs(photos, photos / "results")) == {"a.png", "b.png", "sub/a.png"}


def test_real_rain_is_shown_and_not_scored(order, photos, tmp_path):
    result = order(photos, "--real", "--samples", 2)
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["order.jpg"]
    assert "PSNR" not in result.stdout
    sheet = np.array(Image.open(tmp_path / "out/order.jpg")).astype(int)
    assert sheet.shape[:2] == (26 + 2 * (160 + 26 + GAP_PX), 6 * (240 + GAP_PX))
    # nothing is put on the first one
    expected = Image.open(photos / "a.png").resize((240, 160), Image.Resampling.LANCZOS)
    assert np.abs(sheet[26:186, :240] - np.array(expected)).mean() < 2


def test_built_in_photographs_are_the_default(order, tmp_path):
    names = list(built_in_photographs())
    result = order("--limit", 2, "--preset", "accumulation")
    assert result.exit_code == 0, result.output
    images = list(dict.fromkeys(row["image"] for row in rows_of(tmp_path / "out")))
    assert images == [names[0], names[len(names) // 2]]


def test_photographs_come_one_after_the_other(monkeypatch):
    steps = []

    def load(name):
        steps.append(name)
        return torch.rand(3, 20, 24)

    def derained(*arguments, **options):
        steps.append("derained")
        return derain(*arguments, **options)

    monkeypatch.setattr(order_module, "derain", derained)
    networks = random_network("jorder_e_lite"), random_deveil_network()
    compare_orders(*networks, {name: partial(load, name) for name in "ab"})
    assert steps == [*("a", *["derained"] * 5), *("b", *["derained"] * 5)]


def test_sheet_has_thumbnails_under_their_titles():
    red, blue = Image.new("RGB", (90, 30), "red"), Image.new("RGB", (90, 30), "blue")
    sheet = np.array(
        draw_sheet(["one", "two"], [[(red, "a"), (blue, "")], [(blue, ""), (red, "")]])
    )
    step = 26 + GAP_PX + 30
    for row, column, colour in ((0, 0, 0), (0, 1, 2), (1, 0, 2), (1, 1, 0)):
        left, top = column * (90 + GAP_PX), 26 + row * step
        part = sheet[top : top + 30, left : left + 90]
        assert (part[..., colour] == 255).all() and part.sum() == 255 * 90 * 30
    titles, caption, no_caption = sheet[:26], sheet[56:82, :90], sheet[56:82, 96:]
    assert (titles < 255).any() and (caption < 255).any() and (no_caption == 255).all()


@pytest.mark.parametrize("rows", [[], [[(Image.new("RGB", (2, 2)), "")]]])
def test_sheet_refuses(rows):
    with pytest.raises(ValueError, match="rows must have 2 thumbnails each, got"):
        draw_sheet(["one", "two"], rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("empty",), "no images in the folder empty; looked for"),
        (("none",), "no file or folder none; check the path"),
        (("--real",), "--real needs photographs"),
        (
            ("photos", "--real", "--seed", "2"),
            "--preset and --seed are for clean photographs",
        ),
        (("photos", "--real", "--preset", "light"), "--preset and --seed are for clean"),
        (("photos", "--preset", "frogs"), "unknown preset 'frogs'; choose from light"),
        (("bad",), "bad/text.png: not an image"),
        (("small",), "small.png: SSIM needs at least 11 x 11 pixels"),
        (("photos", "--derainer", "jorder_x"), "unknown model 'jorder_x'"),
    ],
)
def test_order_refuses(order, photos, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("bad").mkdir()
    Path("bad/text.png").write_text("not an image")
    photograph(Path("small/small.png"), 0, (10, 30))
    result = order(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_weights_of_a_derainer_for_the_veil(photos, tmp_path):
    result = CliRunner().invoke(
        app,
        [
            "figure",
            "order",
            str(photos),
            "--deveil-weights",
            str(JorderELite_Weights.DEFAULT.file),
            "--out",
            str(tmp_path),
        ],
    )
    assert result.exit_code == 2
    assert "jorder_e_lite, which is no deveil network" in " ".join(result.stderr.split())
