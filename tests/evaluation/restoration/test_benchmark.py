import csv
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.datasets.photos import built_in_photographs
from evaluation.report.paper_numbers import RESTORATION_SETS, paper_restoration
from evaluation.restoration import benchmark as restoration
from evaluation.restoration.benchmark import read_scores, score_sets
from evaluation.restoration.methods import INPUT, Restorer, make_input_row
from evaluation.restoration.pair_sets import BUILT_IN, PairSet, open_sets
from jorder_preproc import derain, synthesize_rain
from jorder_preproc.models import save_weights
from tests.networks import random_deveil_network, random_network

SIZE = (24, 36)  # height, width


def pixels(seed: int) -> np.ndarray:
    """Smooth uint8 RGB."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC))


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def make_pairs(root: Path, names=("a", "b", "c")) -> Path:
    for seed, name in enumerate(names):
        clean = pixels(seed)
        noise = np.random.default_rng(seed).integers(0, 60, (*SIZE, 1))
        save(root / f"norain/{name}.png", clean)
        save(root / f"rain/{name}.png", np.minimum(clean.astype(int) + noise, 255).astype(np.uint8))
    return root


def scikit_image_scores(restored: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    restored, clean = rgb2ycbcr(restored)[..., 0], rgb2ycbcr(clean)[..., 0]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, full = structural_similarity(clean, restored, data_range=255, full=True, **options)
    psnr = peak_signal_noise_ratio(clean, restored, data_range=255)
    return psnr, full[5:-5, 5:-5].mean()


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "w").mkdir()
    save_weights(random_network("jorder_e_lite"), tmp_path / "w/derainer.safetensors")
    save_weights(random_deveil_network(), tmp_path / "w/deveil.safetensors")
    return tmp_path / "w"


@pytest.fixture
def run(tmp_path, weights):
    """Run the command with random networks on the CPU."""

    def run(*arguments, derainer=f"jorder_e_lite={weights / 'derainer.safetensors'}"):
        options = ["--derainer", derainer, "--device", "cpu", "--out", tmp_path / "out"]
        return CliRunner().invoke(app, ["restoration", *map(str, [*arguments, *options])])

    return run


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module `others`, with derainers of somebody else."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "others", raising=False)
    (tmp_path / "others.py").write_text(
        "class Net:\n"
        "    @staticmethod\n"
        "    def darken(rainy):\n"
        "        return rainy.mul_(0.9) - 0.01\n"
        "NUMBER = 3\n"
        "def shrink(rainy): return rainy[:, 1:]\n"
        "def halve(rainy): return rainy.half() / 0\n"
        "def count(rainy): return (rainy * 255).byte()\n"
        "def array(rainy): return rainy.numpy()\n"
    )


def save_onnx(path: Path, shape, factor: float = 0.9) -> Path:
    """A network that multiplies with a number."""
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("rainy", "clean")
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["rainy", "factor"], ["clean"])],
        "darken",
        tensors[:1],
        tensors[1:],
        [onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [factor])],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def rows_of(out):
    with (out / "restoration.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def to_pixels(image: torch.Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def test_every_row_scores_as_with_scikit_image(run, weights, module, tmp_path):
    root = make_pairs(tmp_path / "rain100l")
    for name, seed in (("a", 7), ("b", 8), ("c", 9)):
        save(tmp_path / f"theirs/{name}.bmp", pixels(seed))
    result = run(
        root,
        *("--derainer", f"jorder_e_lite+deveil={weights / 'derainer.safetensors'}"),
        *("--deveil-weights", weights / "deveil.safetensors"),
        *("--method", "dark=others:Net.darken", "--method", f"theirs={tmp_path / 'theirs'}"),
    )
    assert result.exit_code == 0, result.output
    network, deveil = random_network("jorder_e_lite"), random_deveil_network()
    restore = {
        "input": lambda rainy, name: rainy,
        "jorder_e_lite+deveil (w/derainer)": (
            lambda rainy, name: derain(network, rainy, deveil=True, deveil_model=deveil).background
        ),
        "jorder_e_lite (w/derainer)": lambda rainy, name: derain(network, rainy).background,
        "dark": lambda rainy, name: rainy * 0.9 - 0.01,
        "theirs": lambda rainy, name: (
            torch.from_numpy(np.array(Image.open(tmp_path / f"theirs/{name[0]}.bmp")))
            .permute(2, 0, 1)
            .div(255)
        ),
    }
    rows = rows_of(tmp_path / "out")
    expected = [("rain100l", f"{name}.png", row) for name in "abc" for row in restore]
    assert [(row["set"], row["image"], row["row"]) for row in rows] == expected
    for row in rows:
        rainy = np.array(Image.open(root / "rain" / row["image"]))
        clean = np.array(Image.open(root / "norain" / row["image"]))
        rainy = torch.from_numpy(rainy).permute(2, 0, 1) / 255
        restored = to_pixels(restore[row["row"]](rainy, row["image"]))
        psnr, ssim = scikit_image_scores(restored, clean)
        # one thread or several may round differently
        assert float(row["psnr"]) == pytest.approx(psnr, abs=0.01)
        assert float(row["ssim"]) == pytest.approx(ssim, abs=1e-3)

    document = json.loads((tmp_path / "out/restoration.json").read_text())
    table = (tmp_path / "out/restoration.md").read_text().splitlines()
    for metric, digits, title in (("psnr", 2, "PSNR, dB"), ("ssim", 4, "SSIM")):
        at = table.index(f"| {title} | rain100l |")
        assert table[at + 1] == "| --- | ---: |"
        for line, name in zip(table[at + 2 :], restore, strict=False):
            mean = np.mean([float(row[metric]) for row in rows if row["row"] == name])
            assert line == f"| {name} | {mean:.{digits}f} |"
            assert document["means"][metric][name]["rain100l"] == pytest.approx(mean)
        # the paper's stand behind ours, by the name of the set
        assert table[at + 2 + 5] == f"| ID, paper | {23.13 if metric == 'psnr' else 0.6991} |"
        assert document["paper"][metric]["JORDER-E"] == {
            "rain100l": 37.10 if metric == "psnr" else 0.9795
        }
    assert "Means over images, on luminance: 3 of rain100l." in table
    assert "the first one is JORDER-" in table[-1]
    about = document["rows"]["jorder_e_lite+deveil (w/derainer)"]
    assert set(about) == {"network", "weights_sha256", "deveil_sha256"}
    assert document["sets"] == {"rain100l": {"layout": "folders", "total": 3, "images": 3}}
    assert "│ theirs" in result.stdout and "ID, paper" in result.stdout


def test_the_papers_tables():
    # hand-copied columns of Tables 1 and 2
    assert RESTORATION_SETS == ("Rain12", "Rain100L", "Rain100H", "Rain800")
    psnr, ssim = paper_restoration("psnr"), paper_restoration("ssim")
    assert len(psnr) == 14 and list(psnr) == list(ssim)
    assert list(psnr)[-4:] == ["JORDER-", "JORDER", "JORDER-R", "JORDER-E"]
    assert [scores["Rain100H"] for scores in psnr.values()][-4:] == [20.79, 22.15, 23.45, 24.54]
    assert [scores["Rain12"] for scores in ssim.values()][-4:] == [0.9534, 0.9612, 0.9644, 0.9593]
    assert psnr["DSC"]["Rain800"] == 22.46 and ssim["SRCNN"]["Rain100L"] == 0.9392


def test_built_in_sets_are_the_default(run, tmp_path):
    assert BUILT_IN == {"mini-L": "light", "mini-H": "heavy", "mini-800": "rain800"}
    sets = open_sets([])
    photographs = built_in_photographs()
    assert [each.name for each in sets] == list(BUILT_IN)
    for each, preset in zip(sets, BUILT_IN.values(), strict=True):
        assert (each.total, list(each.pairs)) == (6, list(photographs))
        rainy, clean = each.pairs["flower"]()
        assert torch.equal(clean, photographs["flower"]())
        expected = synthesize_rain(clean, preset, 1, image_id="flower").rainy
        assert torch.equal(rainy, (expected * 255).round() / 255)
    first, second = (list(each.pairs) for each in open_sets(["mini-L", "mini-H"], limit=2))
    assert first == second == ["astronaut", "rocket"]
    assert "paper" not in run("mini-L", "--limit", 1).stdout
    assert "1 of 6 of mini-L." in (tmp_path / "out/restoration.md").read_text()


@pytest.mark.parametrize("half", ["left", "right"])
def test_halves_and_names_of_sets(tmp_path, half):
    clean, rainy = pixels(0), pixels(1)
    both = (clean, rainy) if half == "left" else (rainy, clean)
    save(tmp_path / "test/1.png", np.concatenate(both, 1))
    (each,) = open_sets([f"Rain800={tmp_path / 'test'}"], clean_half=half)
    assert (each.name, each.layout) == ("Rain800", "halves")
    found_rainy, found_clean = each.pairs["1.png"]()
    assert np.array_equal(to_pixels(found_rainy), rainy)
    assert np.array_equal(to_pixels(found_clean), clean)


class Counting:
    """A restorer that knows what it was asked for, and stops at some image."""

    def __init__(self, stop_at=None, version="1"):
        self.stop_at, self.asked = stop_at, []
        self.row = Restorer("row", self.restore, lambda _set, _image: version)

    def restore(self, set_name, image, rainy):
        if image == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(image)
        return rainy / 2


def sets_of(root) -> list[PairSet]:
    return open_sets([str(root)])


def test_interrupted_runs_go_on(tmp_path):
    sets, out = sets_of(make_pairs(tmp_path / "set")), tmp_path / "out"
    stopped = Counting(stop_at="c.png")
    with pytest.raises(KeyboardInterrupt):
        score_sets(sets, [make_input_row(), stopped.row], out)
    path = out / "restoration.csv"
    lines = path.read_text().splitlines()
    assert [line.split(",")[1:3] for line in lines[1:]] == [
        [image, row] for image in ("a.png", "b.png") for row in ("input", "row")
    ] + [["c.png", "input"]]
    # the machine stopped in the middle of a line
    path.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:-5])

    resumed, advanced = Counting(), []
    scores = score_sets(
        sets, [make_input_row(), resumed.row], out, advance=lambda: advanced.append(1)
    )
    assert resumed.asked == ["b.png", "c.png"] and len(advanced) == 3
    whole = score_sets(sets, [make_input_row(), Counting().row], tmp_path / "other")
    assert scores == whole == read_scores(path)
    assert path.read_text() == (tmp_path / "other/restoration.csv").read_text()


def test_what_changed_is_done_again(tmp_path, monkeypatch):
    root, out = make_pairs(tmp_path / "set"), tmp_path / "out"

    def asked(counting, **options):
        score_sets(sets_of(root), [counting.row], out, **options)
        assert len(read_scores(out / "restoration.csv")) == 3
        return counting.asked

    everything = ["a.png", "b.png", "c.png"]
    assert asked(Counting()) == everything
    assert asked(Counting()) == []
    assert asked(Counting(version="2")) == everything  # other weights
    save(root / "norain/b.png", pixels(10))
    assert asked(Counting(version="2")) == ["b.png"]
    save(root / "rain/a.png", pixels(11))
    assert asked(Counting(version="2")) == ["a.png"]
    assert asked(Counting(version="2"), resume=False) == everything
    monkeypatch.setattr(restoration, "package_sha256", lambda: "of other source")
    assert asked(Counting(version="2")) == everything


def test_weights_and_results_are_looked_at(run, weights, tmp_path):
    root = make_pairs(tmp_path / "set", ["a"])
    theirs = save(tmp_path / "theirs/set/a.png", pixels(7))
    scores = []
    for change in (
        lambda: None,
        lambda: save(theirs, pixels(8)),
        lambda: save_weights(
            random_network("jorder_e_lite", "release"), weights / "derainer.safetensors"
        ),
    ):
        change()
        result = run(root, "--method", f"theirs={theirs.parents[1]}")
        assert result.exit_code == 0, result.output
        scores.append({row["row"]: row["digest"] for row in rows_of(tmp_path / "out")})
    changed = [
        {row for row in old if old[row] != new[row]} for old, new in itertools.pairwise(scores)
    ]
    assert changed == [{"theirs"}, {"jorder_e_lite (w/derainer)"}]


def test_onnx_files_are_run(run, tmp_path):
    root = make_pairs(tmp_path / "set")
    network = save_onnx(tmp_path / "network.onnx", ["N", 3, "H", "W"], factor=0.5)
    assert run(root, "--method", f"theirs={network}").exit_code == 0
    rows = [row for row in rows_of(tmp_path / "out") if row["row"] == "theirs"]
    assert len(rows) == 3
    for row in rows:
        rainy, clean = (np.array(Image.open(root / f / row["image"])) for f in ("rain", "norain"))
        halved = np.round(rainy.astype(np.float32) / 2).astype(np.uint8)
        psnr, ssim = scikit_image_scores(halved, clean)
        assert float(row["psnr"]) == pytest.approx(psnr, abs=1e-6)
        assert float(row["ssim"]) == pytest.approx(ssim, abs=1e-6)
    # another network is another result
    save_onnx(network, ["N", 3, "H", "W"], factor=0.6)
    assert run(root, "--method", f"theirs={network}").exit_code == 0
    again = [row for row in rows_of(tmp_path / "out") if row["row"] == "theirs"]
    assert all(old["psnr"] != new["psnr"] for old, new in zip(rows, again, strict=True))


def test_onnx_needs_onnxruntime(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network = save_onnx(tmp_path / "network.onnx", ["N", 3, "H", "W"])
    result = run(make_pairs(tmp_path / "set"), "--method", f"theirs={network}")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "network.onnx needs onnxruntime" in said
    assert "pip install --editable '.[onnxruntime]'" in said


def test_equal_images_have_no_noise(tmp_path):
    root = make_pairs(tmp_path / "set", ["a"])
    save(root / "rain/a.png", pixels(0))
    result = CliRunner().invoke(
        app, ["restoration", str(root), "--out", str(tmp_path / "out"), "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    assert "| input | 100.00 |" in (tmp_path / "out/restoration.md").read_text()
    means = json.loads((tmp_path / "out/restoration.json").read_text())["means"]
    assert means["psnr"][INPUT] == {"set": 100}
    assert means["ssim"][INPUT]["set"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "no folder none; it should hold a folder rainy"),
        (("set", "sub/set"), "two sets have one name, of set, set; give one as NAME=FOLDER"),
        (("set", "--clean-half", "left"), "--clean-half is for images that hold a rainy"),
        (("set", "--deveil-weights", "x"), "--deveil-weights are for NAME+deveil"),
        (("set", "--derainer", "jorder_x"), "unknown model 'jorder_x'"),
        (("set", "--derainer", "jorder_e_lite=x.safetensors"), "x.safetensors is neither"),
        (("set", "--derainer", "jorder_e_lite=w/deveil.safetensors"), "not of jorder_e_lite"),
        (("set", "--method", "input=others:halve"), "two rows have one name, of input, jorder"),
        (
            ("set", "--method", "others:halve"),
            "must be NAME=module:callable, NAME=FILE.onnx or NAME=FOLDER",
        ),
        (("set", "--method", "x=nowhere/"), "no folder nowhere/, and neither module:callable"),
        (("set", "--method", "x=absent.onnx"), "x: no file absent.onnx; check the path"),
        (("set", "--method", "x=others.py.onnx"), "others.py.onnx cannot be read ("),
        (("set", "--method", "x=small.onnx"), "fails on set/a.png, (1, 3, 24, 36): "),
        (("set", "--method", "x=flat.onnx"), "(1, 3, H, W), but takes rainy tensor(float) ['H']"),
        (("set", "--method", "x=absent:y"), "No module named 'absent'; check the name"),
        (("set", "--method", "x=others:absent"), "has no attribute 'absent'; check the name"),
        (("set", "--method", "x=others:NUMBER"), "others:NUMBER is a int"),
        (("set", "--method", "x=others:shrink"), "x of set/a.png: expected shape (3, 24, 36), got"),
        (("set", "--method", "x=others:halve"), "x of set/a.png: has values that are not finite"),
        (
            ("set", "--method", "x=others:count"),
            "expected a float tensor (3, H, W), got torch.uint8",
        ),
        (("set", "--method", "x=others:array"), "expected a float tensor (3, H, W), got ndarray"),
        (
            ("set", "mini-L", "--method", "x=some"),
            "no folder some/set; the results of several sets",
        ),
        (("set", "--method", "x=some"), "no result for 2 images: set/b.png, set/c.png; results"),
        (("set", "--method", "x=twice"), "twice has a more than once"),
        (("small",), "input of small/a.png: SSIM needs at least 11 x 11 pixels"),
    ],
)
def test_restoration_refuses(run, module, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for root in ("set", "sub/set"):
        make_pairs(Path(root))
    Path("others.py.onnx").write_text("no network")
    save_onnx(Path("small.onnx"), [1, 3, 8, 8])
    save_onnx(Path("flat.onnx"), ["H"])
    save(Path("some/a.png"), pixels(0))
    save(Path("twice/a.png"), pixels(0))
    save(Path("twice/a.bmp"), pixels(0))
    for kind in ("rain", "norain"):
        save(Path(f"small/{kind}/a.png"), pixels(0)[:10])
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out/restoration.md").exists()


def test_other_files_are_not_overwritten(run, tmp_path):
    root = make_pairs(tmp_path / "set", ["a"])
    path = tmp_path / "out/restoration.csv"
    path.parent.mkdir()
    for text, message in (
        ("my,own,table\n1,2,3\n", "was not written by this command"),
        ("set,image,row,psnr,ssim,digest\nset,a.png,input,many,0.5,0\n", "is damaged"),
        ("set,image,row,psnr,ssim,digest\nset,a.png\n", "is damaged"),
    ):
        path.write_text(text)
        result = run(root)
        assert result.exit_code == 2 and message in " ".join(result.stderr.split())
        assert path.read_text() == text
