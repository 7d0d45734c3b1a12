import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from jorder_preproc import __version__, cli, derain
from jorder_preproc.batch import plan_jobs
from jorder_preproc.cli import app
from jorder_preproc.errors import UserError
from jorder_preproc.models import (
    DeveilNetwork,
    list_deveil_models,
    list_models,
    load_deveil_model,
    load_model,
    save_weights,
)
from jorder_preproc.models.shipped import SHIPPED, JorderELite_Weights
from jorder_preproc.rain import synthesize_rain

ROOT = Path(__file__).parents[1]


@pytest.fixture
def jorder(weights, tmp_path, monkeypatch):
    """Run the command in an empty folder; `derain` with the random weights."""
    monkeypatch.chdir(tmp_path)

    def run(command, *arguments):
        if command == "derain":
            arguments = ("--weights", weights, "--device", "cpu", *arguments)
        return CliRunner().invoke(app, [command, *map(str, arguments)])

    return run


def make_image(path, height=20, width=30, seed=0):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def to_tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def to_pixels(values):
    return (values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def error_of(result):
    """The message on stderr, on one line; the command must have ended on purpose."""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return " ".join(result.stderr.split())


def derain_all(network, image, **options):
    """With S and R."""
    return derain(network, image, with_streak_map=True, with_region_mask=True, **options)


def summary_of(result):
    """Numbers of the closing table: images, written, skipped, failed."""
    return [int(n) for n in re.findall(r"│ +(\d+) +(?=│)", result.stdout)]


def test_derain_gives_what_the_function_gives(jorder, weights):
    pixels = make_image("a.png")
    result = jorder("derain", "a.png", "-o", "out", "--save-mask", "--save-streaks")
    assert result.exit_code == 0, result.output
    expected = derain_all(load_model("jorder_e_lite", weights), to_tensor(pixels))
    assert files_in("out") == ["a.png", "a_mask.png", "a_streaks.png"]
    np.testing.assert_array_equal(pixels_of("out/a.png"), to_pixels(expected.background))
    np.testing.assert_array_equal(pixels_of("out/a_streaks.png"), to_pixels(expected.streak_map))
    mask = to_pixels(expected.region_mask)[..., 0]
    np.testing.assert_array_equal(pixels_of("out/a_mask.png"), mask)
    assert not np.array_equal(pixels_of("out/a.png"), pixels)


@pytest.mark.parametrize("deveil", ["on", "auto"])
def test_deveil_gives_what_the_function_gives(jorder, network, deveil_weights, deveil):
    bright = make_image("bright.png")
    dark = bright // 8  # shows no veil to the random network
    Image.fromarray(dark).save("dark.png")
    save_weights(network, "dim.safetensors")  # keeps dark images dark
    options = ("--weights", "dim.safetensors", "--save-mask", "--save-streaks")
    options += ("--deveil", deveil, "--deveil-weights", deveil_weights)
    result = jorder("derain", "bright.png", "dark.png", "-o", "out", *options)
    assert result.exit_code == 0, result.output
    deveil_network = load_deveil_model(deveil_weights)
    changed = []
    for name, pixels in (("bright", bright), ("dark", dark)):
        choice = "auto" if deveil == "auto" else True
        options = dict(deveil=choice, deveil_model=deveil_network)
        expected = derain_all(network, to_tensor(pixels), **options)
        for ending, part in (("", expected.background), ("_streaks", expected.streak_map)):
            difference = pixels_of(f"out/{name}{ending}.png").astype(int) - to_pixels(part)
            assert abs(difference).max() <= 1
        mask = pixels_of(f"out/{name}_mask.png")
        assert (mask != to_pixels(expected.region_mask)[..., 0]).mean() < 0.01
        plain = to_pixels(derain(network, to_tensor(pixels)).background).astype(int)
        changed.append(abs(pixels_of(f"out/{name}.png") - plain).max() > 5)
    assert changed == [True, deveil == "on"]


def test_tiles_give_the_whole(jorder):
    make_image("a.png", 40, 420)
    assert jorder("derain", "a.png", "-o", "whole").exit_code == 0
    assert jorder("derain", "a.png", "-o", "tiles", "--tile", 300).exit_code == 0
    difference = pixels_of("whole/a.png").astype(int) - pixels_of("tiles/a.png")
    assert abs(difference).max() <= 1


def test_folder_keeps_names_and_subfolders(jorder):
    for path in ("photos/a.png", "photos/sub/b.jpg", "photos/.hidden.png"):
        make_image(path)
    Path("photos/notes.txt").write_text("not an image")
    result = jorder("derain", "photos", "-o", "photos/out")
    assert result.exit_code == 0
    assert files_in("photos/out") == ["a.png", "sub/b.jpg"]
    # the results are not taken for inputs when it is run again
    assert summary_of(jorder("derain", "photos", "-o", "photos/out")) == [2, 0, 2, 0]


def test_glob(jorder):
    for path in ("photos/a.png", "photos/sub/b.png", "photos/sub/c.jpg"):
        make_image(path)
    assert jorder("derain", "photos/**/*.png", "-o", "out").exit_code == 0
    assert files_in("out") == ["a.png", "sub/b.png"]


def test_output_above_the_input(jorder):
    make_image("photos/sub/a.png")
    assert jorder("derain", "photos/sub", "-o", "photos").exit_code == 0
    assert files_in("photos") == ["a.png", "sub/a.png"]


def test_name_that_looks_like_a_glob(jorder):
    make_image("a[1].png")
    assert jorder("derain", "a[1].png", "-o", "out").exit_code == 0
    assert files_in("out") == ["a[1].png"]


def test_done_is_skipped_unless_overwritten(jorder):
    make_image("a.png")
    assert summary_of(jorder("derain", "a.png", "-o", "out")) == [1, 1, 0, 0]
    Path("out/a.png").write_bytes(b"mine")
    assert summary_of(jorder("derain", "a.png", "-o", "out")) == [1, 0, 1, 0]
    assert Path("out/a.png").read_bytes() == b"mine"
    # a mask that is asked for but missing is work to do
    assert summary_of(jorder("derain", "a.png", "-o", "out", "--save-mask")) == [1, 1, 0, 0]
    assert summary_of(jorder("derain", "a.png", "-o", "out", "--overwrite")) == [1, 1, 0, 0]
    assert Path("out/a.png").read_bytes() != b"mine"


def test_same_file_twice_is_one_image(jorder):
    make_image("photos/a.png")
    assert summary_of(jorder("derain", "photos", "photos/a.png", "-o", "out")) == [1, 1, 0, 0]


def test_links(jorder):
    """Each name of a file has a result, linked folders are entered, and circles end."""
    make_image("store/1.png")
    make_image("other/c.png")
    Path("in").mkdir()
    for name in ("a.png", "b.png"):
        Path("in", name).symlink_to("../store/1.png")
    Path("in/val").symlink_to("../other")
    Path("other/again").symlink_to("../in")
    assert summary_of(jorder("derain", "in", "-o", "out")) == [3, 3, 0, 0]
    assert files_in("out") == ["a.png", "b.png", "val/c.png"]
    assert "is itself an input" in error_of(jorder("derain", "in", "-o", "in"))


def test_runtimes_of_the_cpu_need_no_device(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "_devices", lambda: ["meta", "cpu"])
    make_image(tmp_path / "a.png")
    options = ["-o", tmp_path / "out", "--weights", weights, "--backend", "openvino"]
    result = CliRunner().invoke(app, ["derain", *map(str, [tmp_path / "a.png", *options])])
    assert result.exit_code == 0, result.output


def test_bad_files_are_counted_and_the_others_done(jorder):
    make_image("in/good.png")
    make_image("in/truncated.jpg", 64, 64)
    Path("in/truncated.jpg").write_bytes(Path("in/truncated.jpg").read_bytes()[:-1000])
    Path("in/text.png").write_text("not an image")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save("in/moving.gif", save_all=True, append_images=frames[1:])
    result = jorder("derain", "in", "-o", "out")
    assert result.exit_code == 1
    assert summary_of(result) == [4, 1, 0, 3]
    message = error_of(result)
    assert "in/truncated.jpg: damaged image" in message
    assert "in/text.png: not an image" in message
    assert "in/moving.gif: 2 images in one GIF file" in message
    assert files_in("out") == ["good.png"]


def test_only_what_a_user_can_mend_is_told_without_a_traceback(jorder, monkeypatch):
    make_image("a.png")
    Path("text.png").write_text("not an image")
    result = jorder("derain", "a.png", "text.png", "-o", "out")
    assert "text.png: not an image" in result.stderr and "Traceback" not in result.stderr
    result = jorder("derain", "text.png", "-o", "out", "--debug")
    assert "text.png: not an image" in result.stderr and "ImageFileError" in result.stderr

    # a mistake of ours fails its image, and the others are done
    write = cli.write_image

    def fail(path, written):
        if "broken" in str(path):
            raise ValueError("no such thing")
        write(path, written)

    monkeypatch.setattr(cli, "write_image", fail)
    make_image("broken.png")
    result = jorder("derain", "a.png", "broken.png", "-o", "other")
    assert result.exit_code == 1 and summary_of(result) == [2, 1, 0, 1]
    assert "Traceback" in result.stderr and "ValueError: no such thing" in result.stderr

    monkeypatch.setattr(cli, "plan_jobs", lambda *_: {}["nothing"])
    assert isinstance(jorder("derain", "a.png", "-o", "out").exception, KeyError)
    result = jorder("rain", "a.png", "-o", "out", "--preset", "frogs", "--debug")
    assert isinstance(result.exception, UserError) and "frogs" in str(result.exception)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (3, 5000), (5000, 3)])
def test_odd_sizes(jorder, height, width):
    pixels = make_image("a.png", height, width)
    result = jorder("derain", "a.png", "-o", "out", "--save-mask")
    assert result.exit_code == 0, result.output
    assert pixels_of("out/a.png").shape == pixels.shape
    assert pixels_of("out/a_mask.png").shape == pixels.shape[:2]


def test_sixteen_bits(jorder, weights):
    samples = np.random.default_rng(0).integers(0, 65536, (20, 30), np.uint16, endpoint=False)
    Image.fromarray(samples).save("a.png")
    assert jorder("derain", "a.png", "-o", "out").exit_code == 0
    rgb = torch.from_numpy(samples / np.float32(65535)).expand(3, -1, -1)
    expected = derain(load_model("jorder_e_lite", weights), rgb).background.mean(0) * 65535
    actual = pixels_of("out/a.png")
    assert actual.dtype == np.uint16
    assert abs(actual - expected.numpy()).max() < 3


def test_cmyk_and_opacity(jorder):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save("ink.jpg")
    opacity = np.arange(64, dtype=np.uint8).reshape(8, 8)
    clear = Image.new("RGB", (8, 8), "red")
    clear.putalpha(Image.fromarray(opacity))
    clear.save("clear.png")
    assert jorder("derain", "ink.jpg", "clear.png", "-o", "out").exit_code == 0
    assert pixels_of("out/ink.jpg").shape == (8, 8, 3)
    np.testing.assert_array_equal(pixels_of("out/clear.png")[..., 3], opacity)


def test_sideways_photograph_is_derained_upright(jorder):
    upright = make_image("upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    Image.fromarray(np.rot90(upright)).save("sideways.png", exif=exif)
    jorder("derain", "upright.png", "sideways.png", "-o", "out")
    np.testing.assert_array_equal(pixels_of("out/sideways.png"), pixels_of("out/upright.png"))
    assert Image.open("out/sideways.png").getexif()[0x0112] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png",), "no file or folder none.png; check the path"),
        (("*.png",), "no images match *.png"),
        (("empty",), "no images in the folder empty; looked for .bmp,"),
        (("one/a.png", "two/a.png"), "one/a.png and two/a.png would both be written to out/a.png"),
        (("pair", "--save-mask"), "would both be written to out/a_mask.png"),
        (("one", "-o", "one"), "is itself an input; choose another output folder"),
        (("one/sub", "-o", "one"), "no file or folder one/sub"),
        (("one", "-o", "a.JPG"), "--out is a folder, got a.JPG; the images in it keep their"),
        (("one/*.png", "-o", "one"), "is itself an input"),
        (("one", "-o", "file"), "cannot write to file (file: not a folder); choose a"),
        (("one", "-o", "file/out"), "cannot write to file/out (file: not a folder)"),
        (("one", "--model", "jorder_x"), "unknown model 'jorder_x'; choose from jorder_minus"),
        (("one", "--model", "jorder"), "holds weights of jorder_e_lite, not of jorder;"),
        (("one", "--weights", "none.safetensors"), "none.safetensors is neither"),
        (("one", "--weights", "file"), "file is damaged or not a safetensors file"),
        (("one", "--weights", "evil.pt"), "evil.pt is a pickle, which could run code"),
        (("one", "--device", "abacus"), "cannot use the device 'abacus'"),
        (("one", "--tile", "8"), "tile must be at least"),
        (("one", "--deveil-weights", "none"), "--deveil-weights are for --deveil on or auto"),
        (("one", "--deveil", "on", "--deveil-weights", "none"), "none is neither; check the path"),
        (
            ("one", "--deveil", "auto", "--deveil-weights", JorderELite_Weights.DEFAULT.file),
            "holds weights of jorder_e_lite, which is no deveil network",
        ),
    ],
)
def test_derain_refuses(jorder, arguments, message):
    make_image("one/a.png")
    make_image("two/a.png", seed=1)
    make_image("pair/a.png")
    make_image("pair/a.jpg")
    Path("empty").mkdir()
    Path("file").write_text("a file, not a folder")
    torch.save({"a": torch.zeros(1)}, "evil.pt")
    if "-o" not in arguments:
        arguments += ("-o", "out")
    before = files_in(".")
    result = jorder("derain", *arguments)
    assert result.exit_code == 2
    assert message in error_of(result)
    assert files_in(".") == before


def test_no_write_permission(jorder, monkeypatch):
    make_image("a.png")

    monkeypatch.setattr("os.access", lambda _, mode: not mode & os.W_OK)  # root may write
    result = jorder("derain", "a.png", "-o", "out")
    assert result.exit_code == 2
    assert "cannot write to out (.: no permission); choose another folder" in error_of(result)


def test_subfolder_that_cannot_be_made(jorder):
    make_image("in/sub/a.png")
    make_image("in/b.png")
    Path("out").mkdir()
    Path("out/sub").write_text("in the way")
    result = jorder("derain", "in", "-o", "out")
    assert result.exit_code == 1
    assert summary_of(result) == [2, 1, 0, 1]
    assert files_in("out") == ["b.png", "sub"]


def test_interrupt_leaves_nothing_half_written(jorder, monkeypatch):
    make_image("a.png")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    assert jorder("derain", "a.png", "-o", "out").exit_code != 0
    assert files_in("out") == []


@pytest.mark.parametrize("preset", ["light", "storm"])
def test_rain_gives_what_the_function_gives(jorder, preset):
    pixels = make_image("a.png")
    options = ("--save-mask", "--save-streaks", "--save-parameters")
    result = jorder("rain", "a.png", "-o", "out", "--preset", preset, "--seed", 3, *options)
    assert result.exit_code == 0, result.output
    sample = synthesize_rain(to_tensor(pixels), preset, 3, "a.png")
    np.testing.assert_array_equal(pixels_of("out/a.png"), to_pixels(sample.rainy))
    np.testing.assert_array_equal(pixels_of("out/a_streaks.png"), to_pixels(sample.streak_map))
    mask = to_pixels(sample.region_mask)[..., 0]
    np.testing.assert_array_equal(pixels_of("out/a_mask.png"), mask)
    written = json.loads(Path("out/a_rain.json").read_text())
    drawn = json.loads(json.dumps(sample.parameters))
    assert written == {"image_id": "a.png", "preset": preset, "seed": 3, **drawn}


def test_rain_depends_on_the_seed_and_on_the_name_below_the_folder(jorder):
    pixels = make_image("photos/sub/a.png")
    make_image("photos/b.png")
    make_image("moved/photos/sub/a.png")
    jorder("rain", "photos", "-o", "out")
    jorder("rain", "photos/*/a.png", "-o", "glob")
    jorder("rain", "moved/photos", "-o", "moved_out")
    jorder("rain", "photos", "-o", "other", "--seed", 1)
    jorder("rain", "photos/sub/a.png", "-o", "single")
    rainy = pixels_of("out/sub/a.png")
    expected = synthesize_rain(to_tensor(pixels), "heavy", 0, "sub/a.png").rainy
    np.testing.assert_array_equal(rainy, to_pixels(expected))
    for same in ("glob/sub/a.png", "moved_out/sub/a.png"):
        np.testing.assert_array_equal(pixels_of(same), rainy)
    for other in ("out/b.png", "other/sub/a.png", "single/a.png"):
        assert not np.array_equal(pixels_of(other), rainy)


def test_rain_refuses(jorder, monkeypatch):
    make_image("a.png")
    result = jorder("rain", "a.png", "-o", "out", "--preset", "frogs")
    assert result.exit_code == 2
    assert "unknown preset 'frogs'; choose from light" in error_of(result)
    monkeypatch.setattr(cli, "MAX_RAIN_PIXELS", 599)
    result = jorder("rain", "a.png", "-o", "out")
    assert result.exit_code == 1
    assert "30 x 20 pixels are more than" in error_of(result)


def test_models_lists_every_network(jorder):
    result = jorder("models")
    assert result.exit_code == 0
    for name in list_models():
        assert name in result.stdout
    assert "406,784" in result.stdout
    assert "405.1" in result.stdout
    for name in list_deveil_models():
        network = DeveilNetwork(name)
        size = network.overview_shape((5000, 5000))
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, 3, *size))
        row = re.search(rf"{name} +│ +([\d,]+) │ +([\d,]+) │", result.stdout)
        parameters, macs = (int(number.replace(",", "")) for number in row.groups())
        assert parameters == sum(p.numel() for p in network.parameters())
        # of the whole image, and not of one of its pixels
        assert macs == pytest.approx(counter.get_total_flops() / 2 / 1e6, abs=1)


def test_models_shows_the_facts_of_shipped_weights(jorder):
    for name, shipped in SHIPPED.items():
        digest = f"sha256 {hashlib.sha256(shipped.file.read_bytes()).hexdigest()}  {name}\n"
        for command in ("models", "info"):
            assert digest in jorder(command).stdout
    text = jorder("models").stdout
    assert re.search(r"jorder_e_lite +│.*│ SYNTHETIC_V1 +│", text)
    assert "JorderELite_Weights.SYNTHETIC_V1: rain" in text
    scores = JorderELite_Weights.DEFAULT.meta["scores"]
    rainy, restored = (f"{scores['heavy'][key]:.2f}" for key in ("psnr_rainy", "psnr"))
    assert re.search(rf"heavy +│ +{rainy} │ +{restored} │", text)
    assert re.search(rf"dry +│ +- │ +{scores['dry']['psnr']:.2f} │", text)


def test_info(jorder):
    result = jorder("info")
    assert result.exit_code == 0
    assert f"torch: {version('torch')}\n" in result.stdout
    assert re.search(r"devices: .*cpu", result.stdout)


def test_convert_refuses_what_is_no_release(jorder):
    torch.save({"a": torch.zeros(1)}, "other.pt")
    result = jorder("convert", "other.pt", "out.safetensors")
    assert result.exit_code == 2
    assert "other.pt is not a checkpoint of the authors' release" in error_of(result)
    assert jorder("convert", "none.pt", "out.safetensors").exit_code == 2
    assert not Path("out.safetensors").exists()


def test_plan_takes_the_base_of_a_glob_from_its_first_wildcard(tmp_path):
    make_image(tmp_path / "photos/x/deep/a.png")
    (job,) = plan_jobs([f"{tmp_path}/photos/*/deep/*.png"], tmp_path / "out", {"mask": "_m.png"})
    assert job.target == tmp_path / "out/x/deep/a.png"
    assert job.extras == {"mask": tmp_path / "out/x/deep/a_m.png"}
    assert not job.done


def run_python(folder, *arguments, **variables):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"} | variables
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_version(jorder):
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"jorder-preproc {__version__}\n")


def test_completion_by_the_shell():
    asked = {"_JORDER_COMPLETE": "complete_bash", "COMP_WORDS": "jorder mo", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, prog_name="jorder", env=asked)
    assert result.stdout.split() == ["models"]


def test_entry_point_in_a_process_of_its_own(tmp_path, weights):
    make_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not an image")
    arguments = ("derain", "a.png", "b.png", "-o", "out", "--weights", weights)
    colours = {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = run_python(tmp_path, "-m", "jorder_preproc", *arguments, **colours)
    assert done.returncode == 1
    assert not re.search(r"\x1b\[[\d;]*[349]\dm", done.stdout + done.stderr)
    assert "failed: b.png: not an image" in done.stderr
    assert "images/s" in done.stdout
    assert files_in(tmp_path / "out") == ["a.png"]


LARGE_IMAGE = """
import sys
from pathlib import Path
from jorder_preproc import cli
from jorder_preproc.models import build_model, variants

# next to nothing, so that what is measured is what the files and tiles take
variants.VARIANTS["jorder_e_lite"] = variants.NamedVariant(
    channels=1, blocks=1, stages=1, parameters=0, macs_per_pixel=0
)
cli.load_model = lambda name, weights: build_model(name).eval()
cli.app(sys.argv[1:], standalone_mode=False)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux")
def test_memory_per_pixel_of_a_large_image(tmp_path):
    """Beside PyTorch and a tile, of which both images have whole ones, 13 bytes per pixel."""
    peaks = {}
    for side in (1000, 4000):
        Image.linear_gradient("L").resize((side, side)).convert("RGB").save(tmp_path / "a.jpg")
        arguments = ("derain", "a.jpg", "-o", f"out{side}", "--tile", "512")
        done = run_python(tmp_path, "-c", LARGE_IMAGE, *arguments)
        assert done.returncode == 0, done.stderr
        peaks[side] = 1024 * int(done.stdout.split()[-1])
    assert (peaks[4000] - peaks[1000]) / (4000**2 - 1000**2) < 13


def test_import_of_the_package_needs_no_command_line(tmp_path):
    code = "import sys, jorder_preproc; print({'typer', 'rich', 'mmengine'} & set(sys.modules))"
    assert run_python(tmp_path, "-c", code).stdout.strip() == "set()"


def test_a_file_name_that_is_not_text(tmp_path):
    """As on old archives; neither the output nor the page of a comparison ends with it."""
    (tmp_path / "in").mkdir()
    odd = os.fsencode(tmp_path / "in") + b"/\xff.png"
    try:
        Image.new("RGB", (30, 20), (9, 90, 200)).save(tmp_path / "in/a.png")
        os.rename(tmp_path / "in/a.png", odd)
    except OSError:
        return  # a file system of Unicode names has no such files
    program = """
from jorder_preproc.cli import app
app(["derain", "in", "-o", "out"], standalone_mode=False)
app(["compare", "in", "out", "--out", "page.html"], standalone_mode=False)
"""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    assert rb"\udcff.png: 0." in ran.stdout
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"\xff.png"]
    assert "?.png, 30 x 20 px" in (tmp_path / "page.html").read_text(encoding="utf-8")
