"""Videos: every frame derained, and all else as it was."""

import re
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import jorder_preproc.video
from benchmarks.flicker import NOISE, draw_clip, flicker
from jorder_preproc import Derained, derain
from jorder_preproc.cli import app
from jorder_preproc.errors import UserError
from jorder_preproc.models import save_weights
from jorder_preproc.video import derain_video
from tests.networks import network_that_sees, random_deveil_network

RATE = Fraction(30000, 1001)
HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def network():
    """Changes every image, and sees rain in all that are brighter than 0.3 on average."""
    return network_that_sees(rain_above=0.3)


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(jorder_preproc.video, "SEGMENT_FRAMES", 4)


def make_frames(count=10, level=120, dtype=np.uint8):
    """A soft pattern that moves, and grows brighter."""
    white = np.iinfo(dtype).max / 255
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(count):
        wave = 50 * np.sin((x + 2 * number) / 9) * np.cos(y / 11) + level + number
        colours = np.stack([wave, wave * 0.8 + 20, wave * 0.6 + 10], 2)
        yield (colours.clip(0, 255) * white).round().astype(dtype)


def make_video(path, frames, codec="libx264", format="yuv420p", rotation=0, times=None, sound=True):
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "a walk"
        video = out.add_stream(codec, rate=RATE, options={"crf": "4", "b": "0", "bf": "2"})
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, format
        video.codec_context.time_base = Fraction(1, 30000)
        video.codec_context.colorspace = 1  # BT.709
        if rotation:
            video.set_display_rotation(rotation)
        voice = "aac" if path.suffix in (".mp4", ".mov") else "libopus"
        audio = out.add_stream(voice, 48000) if sound else None
        for number, pixels in enumerate(frames):
            kind = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
            frame = av.VideoFrame.from_ndarray(pixels, kind)
            exact = jorder_preproc.video._CONVERSION
            frame = frame.reformat(format=format, dst_colorspace=1, interpolation=exact)
            frame.pts = (times or range(0, 10**6, 1001))[number]
            frame.time_base = Fraction(1, 30000)
            out.mux(video.encode(frame))
        if audio is not None:
            tone = np.sin(np.arange(16000) / 20).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, 0
            out.mux(audio.encode(frame))
            out.mux(audio.encode())
        out.mux(video.encode())
    return path


def read_video(path, format="rgb24"):
    """Frames, times and the facts of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        facts = {
            "rate": stream.average_rate,
            "codec": stream.codec.canonical_name,
            "format": frames[0].format.name,
            "colours": frames[0].colorspace,
            "rotation": frames[0].rotation,
            "title": container.metadata.get("title"),
        }
    times = [frame.time for frame in frames]
    exact = jorder_preproc.video._CONVERSION
    images = [frame.reformat(format=format, interpolation=exact).to_ndarray() for frame in frames]
    return np.stack(images), times, facts


def sound_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def darken(pixels):
    """Half as bright at the bottom."""
    rows = np.linspace(1, 0.5, len(pixels))[:, None, None]
    return (pixels * rows).round().astype(pixels.dtype)


@pytest.fixture
def darkening(monkeypatch):
    """In place of deraining: smooth, so that codecs keep it, and other upside down."""

    def change(model, image, **options):
        assert options["dry"] == "derain"
        pixels = darken(image.permute(1, 2, 0).numpy())
        return Derained(torch.from_numpy(pixels).permute(2, 0, 1), None, None, None)

    monkeypatch.setattr(jorder_preproc.video, "derain", change)


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mkv", "ffv1", "yuv444p"),
        ("clip.mkv", "libx264", "yuv420p10le"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("clip.mp4", "libx265", "yuv420p"),
        ("clip.mov", "libx264", "yuv420p"),
        ("clip.mov", "libx265", "yuv420p10le"),
    ],
)
def test_frames_are_derained_and_all_else_stays(
    network, darkening, tmp_path, short_segments, name, codec, format
):
    dtype, kind = (np.uint16, "rgb48le") if "10" in format else (np.uint8, "rgb24")
    source = make_video(tmp_path / name, make_frames(dtype=dtype), codec, format)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / name
    result = derain_video(source, target, network)
    assert not result.left_alone
    before, times, facts = read_video(source, kind)
    after, new_times, new_facts = read_video(target, kind)
    assert new_facts == facts
    assert new_times == pytest.approx(times, abs=1e-3)
    assert sound_of(target) == sound_of(source) != []
    expected = np.stack([darken(frame) for frame in before]).astype(float)
    error = (after - expected) * 255 / np.iinfo(dtype).max
    assert np.abs(error).mean() < 2.5  # of the codec
    assert np.abs(error.mean((0, 1, 2))).max() < 0.5  # other colours would be wrong everywhere
    assert np.abs(expected - before).mean() > 20 * np.iinfo(dtype).max / 255
    assert list(target.parent.iterdir()) == [target]


def test_avi_counts_frames(network, darkening, tmp_path):
    """It cannot tell the time of a frame, so that only its rate places it."""
    source, target = tmp_path / "a.avi", tmp_path / "b.avi"
    with av.open(str(source), "w") as out:
        video = out.add_stream("mpeg4", rate=RATE, options={"b": "4000000"})
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for pixels in make_frames(10):
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")))
        out.mux(video.encode())
    derain_video(source, target, network)
    after, _, facts = read_video(target)
    expected = np.stack([darken(frame) for frame in read_video(source)[0]]).astype(float)
    assert np.abs(after - expected).mean() < 2.5
    assert (facts["codec"], facts["rate"]) == ("h264", RATE)
    with av.open(str(target)) as container:
        dts = [packet.dts for packet in container.demux(video=0) if packet.size]
        assert container.streams.video[0].time_base == 1 / RATE
    assert dts == list(range(10))


def test_conversion_to_rgb_and_back_keeps_the_brightness(tmp_path):
    """Against BT.709 in NumPy."""
    pixels = next(make_frames(1))
    with av.open(str(make_video(tmp_path / "a.mp4", [pixels], sound=False))) as container:
        (frame,) = container.decode(video=0)
    planes = frame.to_ndarray(format="yuv444p").astype(float) - [[[16]], [[128]], [[128]]]
    luma, blue, red = planes / [[[219]], [[224]], [[224]]]
    green = luma - 0.1873 * blue - 0.4681 * red
    expected = 255 * np.stack([luma + 1.5748 * red, green, luma + 1.8556 * blue])
    image = jorder_preproc.video._to_tensor(frame)
    assert np.abs(image.numpy() - expected).mean() < 1
    again = jorder_preproc.video._to_frame(av, image, frame, "yuv420p").to_ndarray().astype(float)
    assert np.abs((again - frame.to_ndarray()).mean()) < 0.1


@pytest.mark.parametrize(
    ("codec", "given", "expected"),
    [
        ("prores_ks", "yuv422p10le", "yuv422p10le"),
        ("ffvhuff", "yuv444p12le", "yuv444p10le"),
        ("ffvhuff", "gbrp", "yuv444p"),
        ("ffvhuff", "yuv411p", "yuv420p"),
    ],
)
def test_pixels_keep_depth_and_colour(network, darkening, tmp_path, codec, given, expected):
    suffix = ".avi" if codec == "ffvhuff" else ".mkv"
    clip, result = (tmp_path / f"{name}{suffix}" for name in "ab")
    make_video(clip, make_frames(2), codec, given, sound=False)
    derain_video(clip, result, network)
    with av.open(str(result)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == expected
    pairs = zip(read_video(clip)[0], read_video(result)[0], strict=True)
    for before, after in pairs:
        assert np.abs(darken(before).astype(float) - after).mean() < 2.5  # of the encoder


def test_opacity_is_refused(network, tmp_path):
    clip = make_video(tmp_path / "a.mkv", make_frames(2), "ffv1", "bgra", sound=False)
    with pytest.raises(UserError, match="has opacity, which would be lost"):
        derain_video(clip, tmp_path / "b.mkv", network)
    assert list(tmp_path.iterdir()) == [clip]


def test_rotated_video_is_derained_upright(network, darkening, tmp_path):
    source = make_video(tmp_path / "a.mp4", make_frames(3), rotation=90, sound=False)
    derain_video(source, tmp_path / "b.mp4", network)
    before, _, facts = read_video(source)
    after, _, new_facts = read_video(tmp_path / "b.mp4")
    assert new_facts == facts and facts["rotation"] == 90
    expected = np.stack([np.rot90(darken(np.rot90(frame)), -1) for frame in before])
    assert np.abs(after - expected.astype(float)).mean() < 2.5


def test_uneven_times_are_kept(network, tmp_path):
    times = [0, 1001, 5005, 6006, 20020, 21021]
    source = make_video(tmp_path / "a.mp4", make_frames(6), times=times, sound=False)
    derain_video(source, tmp_path / "b.mp4", network)
    seconds = [time / 30000 for time in times]
    assert read_video(source)[1] == pytest.approx(seconds, abs=1e-4)
    assert read_video(tmp_path / "b.mp4")[1] == pytest.approx(seconds, abs=1e-4)


def test_an_interrupted_run_goes_on_behind_the_last_segment(
    network, darkening, tmp_path, short_segments, monkeypatch
):
    source, target = make_video(tmp_path / "a.mp4", make_frames(11)), tmp_path / "b.mp4"
    derain_video(source, tmp_path / "whole.mp4", network, dry="derain")
    change, done, most = jorder_preproc.video.derain, [], 6

    def count(*arguments, **options):
        if len(done) == most:
            raise KeyboardInterrupt
        done.append(None)
        return change(*arguments, **options)

    monkeypatch.setattr(jorder_preproc.video, "derain", count)
    with pytest.raises(KeyboardInterrupt):
        derain_video(source, target, network, dry="derain")
    assert not target.exists()
    done, most, reports = [], 100, []
    derain_video(
        source, target, network, dry="derain", report=lambda *numbers: reports.append(numbers)
    )
    assert len(done) == 11 - 4
    assert reports == [(number, 11) for number in range(1, 12)]
    assert not (tmp_path / ".b.mp4.segments").exists()
    np.testing.assert_array_equal(read_video(target)[0], read_video(tmp_path / "whole.mp4")[0])
    assert sound_of(target) == sound_of(source)
    # with other settings the segments are of no use
    done, most = [], 6
    with pytest.raises(KeyboardInterrupt):
        derain_video(source, target, network, dry="derain", settings={"weights": "one"})
    done, most = [], 100
    derain_video(source, target, network, dry="derain", settings={"weights": "other"})
    assert len(done) == 11


def test_segments_in_another_order_are_of_no_use(network, tmp_path, short_segments, monkeypatch):
    """A dry clip, of which the veil alone is removed at first."""
    source = make_video(tmp_path / "a.mp4", make_frames(6, level=20), sound=False)
    change, orders = jorder_preproc.video.derain, []

    def stop(*arguments, **options):
        orders.append(options["order"])
        if len(orders) == 6:
            raise KeyboardInterrupt
        return change(*arguments, **options)

    monkeypatch.setattr(jorder_preproc.video, "derain", stop)
    options = dict(deveil_model=random_deveil_network(), settings={})
    with pytest.raises(KeyboardInterrupt):
        derain_video(source, tmp_path / "b.mp4", network, **options)
    derain_video(source, tmp_path / "b.mp4", network, dry="derain", **options)
    assert orders == [("deveil",)] * 6 + [None] * 6


def test_rain_is_decided_for_the_clip(network, tmp_path):
    """A few dark frames among bright ones, or the other way round, do not matter."""
    bright, dark = list(make_frames(9)), list(make_frames(9, level=20))
    wet = make_video(tmp_path / "wet.mp4", [*bright[:7], *dark[:2]], sound=False)
    dry = make_video(tmp_path / "dry.mp4", [*dark[:7], *bright[:2]], sound=False)
    assert derain_video(wet, tmp_path / "a.mp4", network).left_alone is False
    before, after = read_video(wet)[0], read_video(tmp_path / "a.mp4")[0]
    assert all(abs(b.astype(float) - a).mean() > 5 for b, a in zip(before, after, strict=True))
    result = derain_video(dry, tmp_path / "b.mp4", network)
    assert result.left_alone and result.rain_probability < 0.5
    assert (tmp_path / "b.mp4").read_bytes() == dry.read_bytes()
    assert derain_video(dry, tmp_path / "c.mp4", network, dry="derain") == (None, False)
    assert not np.array_equal(read_video(tmp_path / "c.mp4")[0], read_video(dry)[0])


def test_the_veil_of_a_clip_without_streaks_is_removed(network, tmp_path):
    dry = make_video(tmp_path / "dry.mp4", make_frames(3, level=20), sound=False)
    veiled = random_deveil_network()
    result = derain_video(dry, tmp_path / "a.mp4", network, deveil_model=veiled)
    assert not result.left_alone and result.rain_probability < 0.5
    for before, after in zip(read_video(dry)[0], read_video(tmp_path / "a.mp4")[0], strict=True):
        image = torch.from_numpy(before).permute(2, 0, 1)
        options = dict(deveil=True, deveil_model=veiled, order=["deveil"])
        expected = derain(network, image, **options).background.permute(1, 2, 0).numpy()
        assert np.abs(expected.astype(float) - before).mean() > 5
        assert np.abs(expected.astype(float) - after).mean() < 2  # of the encoder


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mpeg4"), (".mkv", "libx265")])
def test_odd_sizes_stay(network, tmp_path, monkeypatch, suffix, codec):
    """H.264 and HEVC with colour at half the resolution have even sizes alone."""
    monkeypatch.setitem(globals(), "HEIGHT", 47)
    monkeypatch.setitem(globals(), "WIDTH", 63)
    form = "yuv420p" if codec == "mpeg4" else "yuv444p10le"
    clip = make_video(tmp_path / f"a{suffix}", make_frames(3), codec, form, sound=False)
    derain_video(clip, tmp_path / f"b{suffix}", network)
    frames = read_video(tmp_path / f"b{suffix}")[0]
    assert len(frames) == 3 and frames[0].shape == (47, 63, 3)


@pytest.fixture
def jorder(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_weights(network, "weights.safetensors")

    def run(*arguments):
        options = ("--weights", "weights.safetensors", "--device", "cpu")
        return CliRunner().invoke(app, ["derain", *map(str, arguments), *options])

    return run


def test_command(jorder, network):
    make_video(Path("a.mp4"), make_frames(3))
    result = jorder("a.mp4", "-o", "new/out.mp4")
    assert result.exit_code == 0, result.output
    assert "a.mp4: 1.00 rain\nWrote new/out.mp4" in result.stdout
    derain_video(Path("a.mp4"), Path("expected.mp4"), network, tile=512)
    np.testing.assert_array_equal(read_video("new/out.mp4")[0], read_video("expected.mp4")[0])
    assert jorder("a.mp4", "-o", "folder").exit_code == 0
    assert Path("folder/a.mp4").is_file()
    Path("folder/a.mp4").write_bytes(b"mine")
    assert "exists, skipped" in jorder("a.mp4", "-o", "folder").stdout
    assert Path("folder/a.mp4").read_bytes() == b"mine"
    assert jorder("a.mp4", "-o", "folder", "--overwrite", "--deveil", "on").exit_code == 0
    assert Path("folder/a.mp4").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.mp4", "b.mp4", "-o", "out"), "videos are derained one by one, got 2 inputs"),
        (("a.mp4", "-o", "out", "--save-mask"), "--save-mask and --save-streaks are for images"),
        (("a.mp4", "-o", "out", "--deveil", "auto"), "a video would flicker; use on or off"),
        (("none.mp4", "-o", "out"), "no file none.mp4; check the path"),
        (("a.mp4", "-o", "."), "a.mp4 is itself the input"),
        (("a.mp4", "-o", "b.mkv"), "name the result b.mp4"),
        (("text.mp4", "-o", "out"), "text.mp4 cannot be read to its end"),
        (("sound.mp4", "-o", "out"), "sound.mp4 holds no video stream"),
        (("cut.mp4", "-o", "out"), "cut.mp4 cannot be read to its end"),
    ],
)
def test_command_refuses(jorder, arguments, message):
    make_video(Path("a.mp4"), make_frames(2), sound=False)
    Path("text.mp4").write_text("no video")
    Path("cut.mp4").write_bytes(Path("a.mp4").read_bytes()[:500])
    with av.open("sound.mp4", "w") as out:
        audio = out.add_stream("aac", 48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 2048), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        out.mux(audio.encode(frame))
        out.mux(audio.encode())
    result = jorder(*arguments)
    assert result.exit_code == 2, result.output
    assert message in re.sub(r"\s+", " ", result.stderr)
    assert not Path("out/a.mp4").exists()


def test_without_pyav(jorder, monkeypatch):
    make_video(Path("a.mp4"), make_frames(1), sound=False)
    monkeypatch.setitem(sys.modules, "av", None)
    result = jorder("a.mp4", "-o", "out")
    assert result.exit_code == 2
    assert "pip install 'jorder-preproc[video]'" in result.stderr


def test_flicker_by_hand():
    frames = torch.zeros(3, 3, 2, 2)
    frames[1, :, 0] = 2 / 255
    frames[2, :, 0, 0] = 5 / 255
    frames[:, :, 1] = torch.rand(3, 3, 2)  # something moves there
    static = torch.tensor([[True, True], [False, False]])
    assert flicker(frames, static) == pytest.approx(((2 + 2) / 2 + (3 + 2) / 2) / 2)
    clip, static = draw_clip(4)
    assert flicker(clip, static) == pytest.approx(NOISE * 2 / np.sqrt(np.pi), rel=0.05)
