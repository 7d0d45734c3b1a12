import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from jorder_preproc.rain import synthesize_rain
from training.bank import layers_of_pairs
from training.data import DrawSampler, RainPatches, RainyPhotos
from training.veils import VeiledPhotos


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    Image.fromarray(data.coffee()).save(folder / "cup.png")
    return folder


def patches(photos, **options):
    settings = dict(patch=32, mixture={"wide": 1.0}, layers_per_preset=4)
    return RainPatches(str(photos), **(settings | options))


def test_labels_add_up(photos):
    dataset = patches(photos)
    for draw in range(30):
        item = dataset[draw]
        torch.testing.assert_close(item["rainy"], item["background"] + item["streak_map"])
        assert item["rainy"].min() >= 0 and item["rainy"].max() <= 1
        changed = (item["rainy"] - item["background"]).amax(0) > 2 / 255
        assert torch.equal(item["region"].bool(), changed)


def test_an_item_is_a_function_of_its_number(photos):
    first, again = patches(photos)[12345], patches(photos)[12345]
    for name in first:
        assert torch.equal(first[name], again[name])
    assert not torch.equal(first["rainy"], patches(photos)[12346]["rainy"])


def test_shares_of_dry_and_veiled_patches(photos):
    wet = patches(photos, mixture={"heavy": 1.0}, dry=0.0, veiled=0.0)
    assert all(wet[k]["region"].any() for k in range(20))
    dry = patches(photos, dry=1.0, veiled=0.0)
    assert all(torch.equal(dry[k]["rainy"], dry[k]["background"]) for k in range(20))
    # a veil lifts the darkest pixel: alpha B + (1 - alpha) A
    veiled = patches(photos, dry=1.0, veiled=1.0)
    clear = np.mean([float(dry[k]["background"].min()) for k in range(20)])
    assert np.mean([float(veiled[k]["background"].min()) for k in range(20)]) > clear + 0.05


def test_the_veil_is_told_about_as_it_is(photos):
    dataset = patches(photos, dry=1.0, veiled=1.0)
    for draw in range(10):
        item = dataset[draw]
        alpha, light = item["transmission"], item["atmospheric_light"]
        assert alpha.shape == (1, 32, 32) and light.shape == (3, 1, 1)
        assert (alpha >= 0.5**1.1).all() and (alpha <= 1).all()
        assert (light >= 0.77).all() and (light <= 1).all()
    clear = patches(photos, veiled=0.0)[0]
    assert (clear["transmission"] == 1).all() and (clear["atmospheric_light"] == 1).all()


def test_streaks_of_pairs_are_their_difference(tmp_path):
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 120, (40, 50, 3), dtype=np.uint8)
    streak = np.zeros((40, 50, 1), np.uint8)
    streak[:, 20:22] = 100
    for name, pixels in (("norain", clean), ("rain", clean + streak)):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "1.png")
    (layer,) = layers_of_pairs(tmp_path)
    np.testing.assert_allclose(layer.numpy(), streak[..., 0] / 100, atol=1e-3)
    dataset = patches(tmp_path / "norain", mixture={}, pairs=str(tmp_path), pairs_weight=1.0, dry=0)
    assert dataset[0]["region"].any()


def test_a_pair_without_partner_is_named(tmp_path):
    (tmp_path / "rain").mkdir()
    (tmp_path / "norain").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "rain" / "7.png")
    with pytest.raises(ValueError, match=r"7\.png has no partner"):
        layers_of_pairs(tmp_path)


def first_draws(count, seed=None, skipped=0):
    sampler = DrawSampler(seed=seed)
    sampler.skip(skipped)
    return list(itertools.islice(sampler, count))


def test_draws_follow_each_other_and_never_repeat():
    draws = first_draws(1000)
    assert draws == list(range(1000)) and first_draws(1000, seed=0) == draws
    other = first_draws(1000, seed=2)
    assert other == [2 * 2**32 + draw for draw in draws]
    assert first_draws(10, seed=2, skipped=30) == other[30:40]


def test_processes_share_out_the_draws(monkeypatch):
    shares = []
    for rank in range(3):
        monkeypatch.setattr("training.data.get_dist_info", lambda rank=rank: (rank, 3))
        shares.append(first_draws(40, seed=1))
        assert first_draws(10, seed=1, skipped=30) == shares[-1][30:]
    assert sorted(itertools.chain(*shares)) == [2**32 + draw for draw in range(120)]


def test_photographs_are_upright(tmp_path):
    """A photograph that was held upright has its columns as rows, and a tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = data.chelsea()[:60, :40]
    Image.fromarray(np.rot90(upright)).save(tmp_path / "cat.png", exif=exif)
    np.testing.assert_array_equal(patches(tmp_path).photos[0], upright)
    veiled = VeiledPhotos(str(tmp_path), (30, 20), {"heavy": 1.0}, layers_per_preset=1)
    np.testing.assert_array_equal(veiled.photos[0], upright)
    expected = torch.from_numpy(upright).permute(2, 0, 1) / 255
    assert torch.equal(RainyPhotos(str(tmp_path), ["clean"])[0]["background"], expected)


def test_validation_rain_is_the_presets(photos):
    items = list(RainyPhotos(str(photos), ["clean", "heavy"], seed=1))
    assert [item["preset"] for item in items] == ["clean", "heavy"] * 2
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1) / 255
    assert torch.equal(items[0]["rainy"], cat)
    heavy = synthesize_rain(cat, "heavy", 1, "cat.png").rainy
    # rounded to 8 bits, as a picture file would be
    assert 0.4 / 255 < (items[1]["rainy"] - heavy).abs().max() < 0.501 / 255
    assert torch.equal(items[1]["background"], cat)


def test_folders_without_use_are_named(tmp_path, photos):
    with pytest.raises(ValueError, match="no pictures"):
        patches(tmp_path)
    with pytest.raises(ValueError, match="at least 4000 x 4000"):
        patches(photos, patch=4000)
    with pytest.raises(ValueError, match="unknown presets"):
        RainyPhotos(str(photos), ["drizzle"])
