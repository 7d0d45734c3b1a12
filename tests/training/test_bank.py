"""Streak layers, read and rendered: what is kept of them, and how they are changed."""

import numpy as np
import pytest
from PIL import Image

from jorder_preproc.errors import UserError
from jorder_preproc.rain.presets import PRESETS
from training.bank import LayerBank, _view, read_layers


@pytest.fixture
def streaks(tmp_path):
    """Two layers of upright streaks, of different sizes."""
    for name, shape, level in (("a", (90, 120), 200), ("b", (120, 80), 120)):
        layer = np.zeros(shape, np.uint8)
        layer[10:60, ::12] = level
        Image.fromarray(layer).save(tmp_path / f"{name}.png")
    return tmp_path


def lights(bank, count, size=48):
    rng = np.random.default_rng(0)
    return [layer.light.numpy() for _ in range(count) for layer in bank.draw(size, rng)]


def test_layers_that_are_read(streaks):
    bank = LayerBank({"streaks": 1.0}, 3, streaks)
    rng = np.random.default_rng(1)
    drawn = [bank.draw(48, rng) for _ in range(60)]
    assert {len(layers) for layers in drawn} == {1, 2, 3, 4, 5}
    for layers in drawn:
        for layer in layers:
            assert layer.light.shape == (48, 48) and layer.colour.shape == (3, 1, 1)
            assert layer.light.min() >= 0 and layer.light.max() <= 1
    assert {layer.blended for layers in drawn for layer in layers} == {True, False}
    again = bank.draw(48, np.random.default_rng(3)), bank.draw(48, np.random.default_rng(3))
    for one, other in zip(*again, strict=True):
        assert (one.light == other.light).all() and (one.colour == other.colour).all()


def test_layers_of_sixteen_bits_and_of_colour_are_read_as_grey(tmp_path):
    levels = np.array([[0, 1000, 30000, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    Image.fromarray(np.array([[[9, 9, 9], [255, 0, 0]]], np.uint8)).save(tmp_path / "b.png")
    deep, coloured = read_layers(tmp_path)
    assert deep.tolist() == [[0, 3, 117, 255]]
    assert coloured.tolist() == [[9, 76]]  # 0.299 of red
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"c\.png: not an image"):
        read_layers(tmp_path)


def test_layers_with_opacity_are_laid_over_black(tmp_path):
    opacity = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    layer = Image.fromarray(np.full((4, 6, 3), 255, np.uint8))
    layer.putalpha(Image.fromarray(opacity))
    layer.save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_layers(tmp_path)[0], opacity)


def test_a_preset_without_streaks_is_refused():
    with pytest.raises(UserError, match="the preset accumulation has no streaks to train on"):
        LayerBank({"accumulation": 1.0}, 2)


def test_rendered_layers_keep_their_light():
    """Half of the light of a preset's layers is beyond what uint8 holds if 1 were 255."""
    bank = LayerBank({"heavy": 1.0}, 8, seed=2, layer_px=96)
    (source,) = bank._sources
    kept = np.concatenate([layer.ravel() for layer in source.layers]) / 255 * source.light_of_255
    drawn = np.concatenate([light.ravel() for light in lights(bank, 20)])
    assert drawn.max() <= 2 and drawn.max() > 1
    assert drawn.mean() == pytest.approx(kept.mean(), rel=0.25)


def test_a_view_turns_and_scales():
    """A vertical line turned by 30 degrees and shrunk to half leans by 30 degrees."""
    line = np.zeros((200, 200), np.uint8)
    line[:, 98:102] = 255
    view = _view(line, 80, 30.0, 0.0, 0.5, np.random.default_rng(0)).astype(float)
    rows = np.flatnonzero(view.sum(1) > 0.8 * np.median(view.sum(1)))[5:-5]
    middle = (view[rows] * np.arange(80)).sum(1) / view[rows].sum(1)
    slope = np.polyfit(rows, middle, 1)[0]
    assert abs(np.degrees(np.arctan(slope))) == pytest.approx(30, abs=1.5)
    # 4 px shrunk to 2 px, cut at a slant
    assert np.median(view[rows].sum(1)) / 255 == pytest.approx(2 / np.cos(np.radians(30)), rel=0.1)


def test_a_view_without_change_is_a_part_of_the_layer():
    layer = np.random.default_rng(4).integers(0, 256, (30, 40), dtype=np.uint8)
    flips = [layer, layer[::-1], layer[:, ::-1], layer[::-1, ::-1]]
    parts = {
        flip[y : y + 20, x : x + 20].tobytes()
        for flip in flips
        for y in range(11)
        for x in range(21)
    }
    views = [_view(layer, 20, 0.0, 0.0, 1.0, np.random.default_rng(k)).tobytes() for k in range(40)]
    assert set(views) <= parts and len(set(views)) > 35


def test_a_layer_that_is_too_small_is_repeated():
    layer = np.zeros((16, 16), np.uint8)
    layer[:, 3] = 255
    view = _view(layer, 48, 0.0, 0.0, 1.0, np.random.default_rng(0))
    assert (view.max(0) == view.min(0)).all()
    np.testing.assert_array_equal(np.diff(np.flatnonzero(view[0])), [16, 16])


def test_parts_of_the_mixture(streaks):
    used = LayerBank({"lines": 1, "drops": 0, "noise": 2}, 2, layer_px=32)
    assert [source.preset.renderers for source in used._sources] == [(1, 0, 0), (0, 0, 1)]
    assert used._sources[0].preset.layers == PRESETS["wide"].layers
    np.testing.assert_allclose(used._weights, [1 / 3, 2 / 3])
    with pytest.raises(ValueError, match="weights >= 0, not all 0"):
        LayerBank({"lines": 0}, 2)
    with pytest.raises(ValueError, match="the mixture has `streaks`, which needs"):
        LayerBank({"streaks": 1}, 2)
    with pytest.raises(ValueError, match="unknown preset 'drizzle'"):
        LayerBank({"drizzle": 1}, 2)
    (streaks / "none").mkdir()
    with pytest.raises(ValueError, match="no PNG files of streak layers under .*none"):
        LayerBank({"streaks": 1}, 2, streaks / "none")


def test_dense_lines_cover_much_of_an_image():
    bank = LayerBank({"dense": 1}, 40, layer_px=96)
    layers = bank._sources[0].layers
    rng = np.random.default_rng(0)
    covered = [
        (sum(layer.light * layer.colour for layer in bank.draw(96, rng)) > 0.1).float().mean()
        for _ in range(60)
    ]
    assert np.percentile(covered, 10) > 0.1
    assert 0.3 < np.median(covered) < 0.7
    # every fourth layer has streaks along the columns of pixels
    down, across = (
        np.array([np.square(np.diff(layer.astype(float), axis=axis)).mean() for layer in layers])
        for axis in (0, 1)
    )
    ratio = down / across
    assert ratio[3::4].max() < 0.08 < np.median(np.delete(ratio, np.s_[3::4]))
