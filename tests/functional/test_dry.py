"""The decision whether it rains at all (see `RainPresence`), made once for a whole image."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from typer.testing import CliRunner

from jorder_preproc import JorderDerain, derain, derain_image, rain_probability
from jorder_preproc.cli import app
from jorder_preproc.errors import UserError
from jorder_preproc.images import float_to_pixels
from jorder_preproc.models import build_model, save_weights
from tests.networks import network_that_sees, random_deveil_network


@pytest.fixture(scope="module")
def network():
    return network_that_sees(0.5)


def grey(value, height=40, width=50):
    generator = torch.Generator().manual_seed(1)
    return value + 0.1 * (torch.rand(3, height, width, generator=generator) - 0.5)


def test_a_dry_image_comes_back_bit_for_bit(network):
    for image in (grey(0.3), grey(0.3).double(), grey(0.3).half()):
        background, streak_map, region_mask, _ = derain(
            network, image, with_streak_map=True, with_region_mask=True
        )
        assert torch.equal(background, image)
        assert not streak_map.any() and not region_mask.any()
    assert not torch.equal(derain(network, grey(0.7)).background, grey(0.7))
    changed = derain(network, grey(0.3), dry="derain").background
    assert not torch.equal(changed, grey(0.3))


def test_each_image_of_a_batch_is_decided_on_its_own(network):
    batch = torch.stack([grey(0.3), grey(0.7), grey(0.2), grey(0.8)])
    wanted = dict(with_streak_map=True, with_region_mask=True)
    results = derain(network, batch, **wanted)
    for index, image in enumerate(batch):
        alone = derain(network, image, **wanted)
        for whole, part in zip(results, alone, strict=True):
            torch.testing.assert_close(whole[index], part, rtol=0, atol=1e-6)
        assert torch.equal(results.background[index], image) == (index in (0, 2))


def test_probability_is_the_sigmoid_of_the_brightness(network):
    image = torch.full((3, 32, 48), 0.52)
    expected = 1 / (1 + np.exp(-100 * (0.52 - 0.5)))
    assert rain_probability(network, image).item() == pytest.approx(expected, rel=1e-4)
    assert rain_probability(network, image[None]).shape == (1,)


@pytest.mark.parametrize("size", [(300, 411), (7, 500)])
def test_tiles_decide_once_for_the_whole(size):
    """Bright on one side alone: by themselves most tiles would be dry."""
    network = network_that_sees(0.24)
    image = grey(0.1, *size)
    image[..., : size[1] // 4] += 0.6
    assert image.mean() > 0.245
    torch.testing.assert_close(
        rain_probability(network, image, tile=280), rain_probability(network, image)
    )
    whole, tiled = derain(network, image), derain(network, image, tile=280)
    torch.testing.assert_close(tiled.background, whole.background, rtol=0, atol=1e-4)
    assert not torch.equal(tiled.background[..., -40:], image[..., -40:])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_integer_images_are_left_alone_too(network, dtype):
    image = float_to_pixels(grey(0.3), dtype)
    result = derain(network, image, with_streak_map=True, with_region_mask=True)
    assert torch.equal(result.background, image)
    assert not result.streak_map.numpy().any() and not result.region_mask.numpy().any()
    bright = float_to_pixels(grey(0.7), dtype)
    assert not torch.equal(derain(network, bright).background, bright)


def test_bad_choices_are_named(network):
    with pytest.raises(ValueError, match="dry must be one of leave, derain, got 'maybe'"):
        derain(network, grey(0.3), dry="maybe")
    with pytest.raises(ValueError, match="jorder_e_practical cannot tell whether it rains"):
        rain_probability(build_model("jorder_e_practical"), grey(0.3))


def test_derain_says_how_probable_rain_is(network):
    for value in (0.3, 0.7):
        image = float_to_pixels(grey(value), torch.uint8)
        expected = JorderDerain(network).rain_probability(image)
        for dry in ("leave", "derain"):
            found = derain(network, image, dry=dry).rain_probability
            assert found.item() == pytest.approx(expected, abs=1e-6)
    # of derain, deveil, derain the first
    options = dict(deveil=True, deveil_model=random_deveil_network())
    both = derain(network, torch.stack([image, image]), **options).rain_probability
    assert both.tolist() == pytest.approx([expected] * 2, abs=1e-6)
    assert derain(build_model("jorder_e_practical").eval(), image).rain_probability is None


# images as users hold them


def as_given(value):
    """The same image in many types."""
    eight_bits = (grey(value).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    image = Image.fromarray(eight_bits)
    return [
        image,
        image.convert("RGBA"),
        image.convert("L"),
        eight_bits,
        eight_bits.astype(np.uint16) * 257,
        eight_bits / 255,
        tv_tensors.Image(torch.from_numpy(eight_bits).permute(2, 0, 1)),
        grey(value),
    ]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and np.array_equal(np.asarray(one), np.asarray(other))


def test_dry_images_of_every_type_come_back_bit_for_bit(network):
    leave, always = JorderDerain(network), JorderDerain(network, dry="derain")
    for dry, rainy in zip(as_given(0.3), as_given(0.7), strict=True):
        assert same(leave(dry), dry)
        assert same(derain_image(network, dry), dry)
        assert not same(always(dry), dry)
        assert same(derain_image(network, dry, dry="derain"), always(dry))
        assert not same(leave(rainy), rainy)
        assert same(leave(rainy), always(rainy))


def test_probability_of_images_of_every_type(network):
    transform = JorderDerain(network)
    for value in (0.3, 0.503, 0.7):
        for image in as_given(value):
            expected = 1 / (1 + np.exp(-100 * (grey(value).mean().item() - 0.5)))
            probability = transform.rain_probability(image)
            assert isinstance(probability, float)
            assert probability == pytest.approx(expected, abs=0.03)


def test_frames_are_decided_one_by_one(network):
    frames = torch.stack([grey(0.3), grey(0.7)])
    result = JorderDerain(network)(tv_tensors.Video(frames))
    assert torch.equal(result[0], frames[0]) and not torch.equal(result[1], frames[1])
    with pytest.raises(ValueError, match="must be one image, got 2 frames; ask one by one"):
        JorderDerain(network).rain_probability(frames)


def test_a_transform_that_cannot_tell(network):
    transform = JorderDerain(build_model("jorder_e_practical").eval())
    with pytest.raises(UserError, match="cannot tell whether it rains; use one of jorder_e_lite"):
        transform.rain_probability(grey(0.3))
    with pytest.raises(ValueError, match="dry must be one of leave, derain, got 'no'"):
        derain_image(network, grey(0.3), dry="no")


def test_command_tells_and_leaves_alone(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_weights(network, "sees.safetensors")
    names = {"dry.png": 0.3, "rainy [1].png": 0.7}
    for name, value in names.items():
        as_given(value)[0].save(name)
    options = ["--model", network.name, "--weights", "sees.safetensors", "--device", "cpu"]

    def run(out, *more):
        result = CliRunner().invoke(app, ["derain", *names, "-o", out, *options, *more])
        assert result.exit_code == 0, result.output
        changed = [not same(Image.open(n), Image.open(f"{out}/{n}")) for n in names]
        return result.stdout.splitlines()[:2], changed

    told, changed = run("left")
    assert told == ["dry.png: 0.00 rain, left alone", "rainy [1].png: 1.00 rain"]
    assert changed == [False, True]
    told, changed = run("derained", "--dry", "derain")
    assert told == ["dry.png: 0.00 rain", "rainy [1].png: 1.00 rain"]
    assert changed == [True, True]

    # no pixel may change by writing the file again, either
    as_given(0.3)[0].save("dry.jpg", quality=60, subsampling="4:2:0")
    as_given(0.3)[0].convert("P").save("dry.gif")
    names = {"dry.jpg": 0, "dry.gif": 0}
    run("left")
    for name in names:
        assert Path("left", name).read_bytes() == Path(name).read_bytes()
    result = CliRunner().invoke(app, ["derain", *names, "-o", "x", *options, "--dry", "keep"])
    assert result.exit_code == 2 and "'keep' is not one of" in result.stderr


def test_command_says_nothing_where_the_network_cannot_tell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    as_given(0.3)[0].save("a.png")
    save_weights(build_model("jorder_e_practical"), "blind.safetensors")
    options = ["--model", "jorder_e_practical", "--weights", "blind.safetensors", "--device", "cpu"]
    result = CliRunner().invoke(app, ["derain", "a.png", "-o", "out", *options])
    assert result.exit_code == 0 and "a.png" not in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_results_go_to_stdout_while_the_bar_is_on_a_terminal(tmp_path):
    """Rich sends both to the terminal unless told otherwise."""
    import pty

    code = (
        "from jorder_preproc.commands import stderr, stdout\n"
        "from jorder_preproc.progress import progress_bar\n"
        "with progress_bar(stderr): stdout.print('a.png: 0.97 rain')\n"
    )
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=end,
            text=True,
            env=environment,
            check=True,
        )
    finally:
        os.close(end)
        os.close(terminal)
    assert done.stdout == "a.png: 0.97 rain\n"


def test_autocast_around_it_changes_nothing(network):
    """The precision is that of the network, wherever a pipeline runs it."""
    rainy = grey(0.7)
    expected = derain(network, rainy)
    with torch.autocast("cpu", torch.bfloat16):
        actual = derain(network, rainy)
    for one, other in zip(expected, actual, strict=True):
        assert one is other is None or torch.equal(one, other)
