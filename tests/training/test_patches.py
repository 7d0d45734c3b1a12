"""Batches of patches: their labels, their shares and their stream."""

import io
import itertools

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from jorder_preproc.rain.synthesize import StreakLayer, add_rain
from training.data import IterationSampler
from training.patches import COMPOSITIONS, RainPatches, _compress, compose_layers, only_item

ALL = dict(
    composition={way: 1.0 for way in COMPOSITIONS},
    dry=0.2, small_jpegs=0.5, veiled=0.3, varied=0.5, faint=0.3, reduced=0.3, noisy=0.3,
    compressed=0.3,
)  # fmt: skip


def patches(photos, count=30, **options):
    settings = dict(stages=[(0, 32, count)], mixture={"wide": 1.0}, layers_per_preset=4)
    return RainPatches(str(photos), **(settings | options))


def test_jpeg_is_that_of_the_colours():
    """JPEG keeps less of blue than of red."""
    pixels = skimage.data.astronaut()[:96, 150:300]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=30)
    found = _compress(torch.from_numpy(pixels).permute(2, 0, 1).float(), 30)
    expected = np.asarray(Image.open(file), int)
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).mean() < 0.2  # of another decoder
    assert np.abs(pixels - expected).mean() > 2


def test_labels_add_up(photos):
    batch = patches(photos, 60, **ALL)[0, 0, 0]
    change = batch["rainy"] - batch["background"]
    torch.testing.assert_close(batch["streak_map"], change.clamp(min=0))
    assert torch.equal(batch["region"].bool(), change.abs().amax(1) > 2 / 255)
    assert torch.equal(batch["raining"], batch["region"].flatten(1).any(1).float())
    assert 0.6 < batch["raining"].mean() < 1
    for name in ("rainy", "background"):
        values = batch[name] * 255
        assert values.min() >= 0 and values.max() <= 255
        torch.testing.assert_close(values, values.round(), rtol=0, atol=1e-4)  # 8 bits
    shapes = {name: tuple(value.shape[1:]) for name, value in batch.items()}
    image = (3, 32, 32)
    assert shapes == {
        "rainy": image, "background": image, "streak_map": image, "region": (32, 32),
        "raining": (), "transmission": (1, 32, 32), "atmospheric_light": (3, 1, 1),
    }  # fmt: skip


def test_a_batch_is_a_function_of_seed_rank_and_iteration(photos):
    one, other = patches(photos, 4, **ALL), patches(photos, 4, **ALL)
    other[0, 0, 7]  # what was drawn before does not matter
    first, again = one[3, 1, 5], other[3, 1, 5]
    for name in first:
        assert torch.equal(first[name], again[name])
    for item in ((3, 1, 6), (3, 0, 5), (4, 1, 5)):
        assert not torch.equal(first["rainy"], one[item]["rainy"])


def test_patches_grow_by_stages(photos):
    dataset = patches(photos, stages=[(0, 24, 5), (10, 32, 3), (20, 48, 1)])
    shapes = {k: tuple(dataset[0, 0, k]["rainy"].shape) for k in (0, 9, 10, 19, 20, 999)}
    small, middle, large = (5, 3, 24, 24), (3, 3, 32, 32), (1, 3, 48, 48)
    assert shapes == {0: small, 9: small, 10: middle, 19: middle, 20: large, 999: large}


def test_the_sampler_goes_on_after_what_is_skipped():
    sampler = IterationSampler(None, seed=4)
    whole = list(itertools.islice(sampler, 6))
    assert whole[:2] == [(4, 0, 0), (4, 0, 1)]
    resumed = IterationSampler(None, seed=4)
    resumed.skip(4)
    assert list(itertools.islice(resumed, 2)) == whole[4:]
    assert only_item(["batch"]) == "batch"


@pytest.mark.parametrize("option", ["noisy", "compressed", "varied", "reduced", "veiled"])
def test_a_dry_patch_is_its_own_background(photos, option):
    batch = patches(photos, dry=1.0, small_jpegs=0.5, **{option: 1.0})[0, 0, 0]
    assert torch.equal(batch["rainy"], batch["background"])
    assert not batch["region"].any() and not batch["raining"].any()


def test_noise_after_the_rain_is_not_to_be_taken_off(tmp_path):
    """It is on the background as well, and the same: what differs is the rain alone."""
    Image.new("RGB", (40, 40), (90, 120, 60)).save(tmp_path / "flat.png")
    clear, noisy = (patches(tmp_path, 40, noisy=share)[0, 0, 0] for share in (0.0, 1.0))
    assert clear["background"].std((2, 3)).max() < 1e-6
    deviations = noisy["background"].std((2, 3)) * 255
    assert deviations.min() > 0.3 and 2 < deviations.mean() < 5 and deviations.max() < 12
    dry = 1 - noisy["region"][:, None].float()
    difference = (noisy["rainy"] - noisy["background"]).abs() * dry
    assert difference.max() <= 2 / 255 + 1e-6
    assert dry.mean() > 0.1


def test_all_patches_rain_unless_dry(photos):
    wet = patches(photos, mixture={"heavy": 1.0})[0, 0, 0]
    assert wet["raining"].all()


def test_faint_rain_keeps_a_share_of_its_light(tmp_path):
    """More here and less there, but never at once: neighbours keep nearly the same."""
    Image.new("RGB", (40, 40), (20, 20, 20)).save(tmp_path / "dark.png")
    kinds = dict(composition={"add": 1.0}, mixture={"heavy": 1.0})
    usual, faint = (patches(tmp_path, 1, faint=share, **kinds) for share in (0.0, 1.0))
    means, ranges = [], []
    for iteration in range(60):
        one, other = usual[0, 0, iteration], faint[0, 0, iteration]
        before, after = (batch["streak_map"][0] * 255 for batch in (one, other))
        bright = ((before > 60) & (one["rainy"][0] < 1)).all(0)  # not clipped at white
        kept = after.sum(0) / before.sum(0)
        beside = bright[:, 1:] & bright[:, :-1]
        assert (kept[:, 1:] - kept[:, :-1])[beside].abs().max() < 0.3
        means.append(float(kept[bright].mean()))
        ranges.append(float(kept[bright].max() - kept[bright].min()))
    assert 0.08 < min(means) < 0.2 and 0.7 < max(means) < 1.02
    assert 0.2 < np.median(means) < 0.5  # 0.1 ** 0.5 is 0.32
    assert min(ranges) < 0.05 and max(ranges) > 0.3


def test_a_veil_stays_and_is_told_about(photos):
    veiled = patches(photos, dry=1.0, veiled=1.0)[0, 0, 0]
    alpha, light = veiled["transmission"], veiled["atmospheric_light"]
    assert (alpha >= 0.5**1.1).all() and (alpha <= 1).all() and alpha.mean() < 0.95
    assert (light >= 0.77).all() and (light <= 1).all()
    clear = patches(photos, dry=1.0)[0, 0, 0]
    assert (clear["transmission"] == 1).all() and (clear["atmospheric_light"] == 1).all()
    # a veil lifts the darkest pixel: alpha B + (1 - alpha) A
    darkest = [batch["background"].amin((1, 2, 3)).mean() for batch in (veiled, clear)]
    assert darkest[0] > darkest[1] + 0.05


def layer(light, colour, blended):
    colour = torch.tensor(colour).view(3, 1, 1)
    return StreakLayer(torch.tensor(light).view(1, 3), colour, blended, {})


def test_compositions_by_hand():
    """Three pixels: dark, grey and white, under two layers."""
    background = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 3).expand(3, 1, 3)
    layers = [
        layer([1.0, 0.5, 1.0], [0.4, 0.4, 0.4], False),
        layer([0.5, 1.5, 0.0], [0.8, 0.8, 0.8], True),
    ]
    expected = {
        "add": [0.4 + 0.4, 1.0, 1.0],
        "screen": [1 - 0.6 * 0.6, 1.0, 1.0],
        "preset": [0.4 + 0.4 * 0.6, 1.0, 1.0],
        # towards 0.7 and then 0.9
        "cover": [0.5 * 0.7 + 0.5 * 0.9, 0.9, 0.7],
        # those with more than half of 1.0 and of 1.5
        "paint": [0.7, 0.9, 0.7],
        "linear": [(0.4**2 + 0.4**2) ** 0.5, 1.0, 1.0],
    }
    assert set(expected) == set(COMPOSITIONS)
    for way, values in expected.items():
        rainy = compose_layers(background, layers, way)
        torch.testing.assert_close(rainy, torch.tensor(values).view(1, 1, 3).expand(3, 1, 3))
    assert torch.equal(background[0, 0], torch.tensor([0.0, 0.5, 1.0]))


def test_presets_are_composed_as_the_rain_model_does(photos):
    dataset = patches(photos)
    rng = np.random.default_rng(5)
    background = torch.from_numpy(rng.random((3, 40, 40), np.float32))
    for _ in range(10):
        layers = dataset.bank.draw(40, rng)
        sample = add_rain(background, layers)
        rainy = compose_layers(background, layers, "preset")
        seen = sample.region_mask.bool().expand(3, -1, -1)
        torch.testing.assert_close(rainy[seen], sample.rainy[seen])
        assert (rainy - sample.rainy).abs().max() <= 2 / 255 + 1e-6  # what is not visible


def test_mistakes_are_named(photos):
    with pytest.raises(ValueError, match="no images"):
        patches(photos / "none")
    with pytest.raises(ValueError, match="at least 4000 x 4000"):
        patches(photos, stages=[(0, 32, 1), (5, 4000, 1)])
    with pytest.raises(ValueError, match="must begin at iteration 0 and rise, got .*5, 32, 1"):
        patches(photos, stages=[(5, 32, 1)])
    with pytest.raises(ValueError, match="not all 0, of preset, add, screen, cover, paint, linear"):
        patches(photos, composition={"multiply": 1.0})
    with pytest.raises(ValueError, match=r"got \{'add': 1.0, 'paint': -0.1\}"):
        patches(photos, composition={"add": 1.0, "paint": -0.1})
    with pytest.raises(ValueError, match=r"veiled is a share in \[0, 1\], got 2"):
        patches(photos, veiled=2)
