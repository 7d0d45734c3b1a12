import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from jorder_preproc.rain import synthesize_rain
from training.data import DrawSampler, RainyPhotos, list_photos
from training.patches import RainPatches
from training.veils import VeiledPhotos


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
    patches = RainPatches(str(tmp_path), [(0, 32, 1)], {"heavy": 1.0}, layers_per_preset=1)
    np.testing.assert_array_equal(patches.photos[0], upright)
    veiled = VeiledPhotos(str(tmp_path), (30, 20), {"heavy": 1.0}, layers_per_preset=1)
    np.testing.assert_array_equal(veiled.photos[0], upright)
    expected = torch.from_numpy(upright).permute(2, 0, 1) / 255
    assert torch.equal(RainyPhotos(str(tmp_path), ["clean"])[0]["background"], expected)


def test_validation_rain_is_the_presets(photos):
    items = list(RainyPhotos(str(photos), ["clean", "heavy"], seed=1))
    assert [item["preset"] for item in items] == ["clean", "heavy"] * 2
    cat = torch.from_numpy(data.chelsea()[:90, :110]).permute(2, 0, 1) / 255
    assert torch.equal(items[0]["rainy"], cat)
    heavy = synthesize_rain(cat, "heavy", 1, "cat.png").rainy
    # rounded to 8 bits, as an image file would be
    assert 0.4 / 255 < (items[1]["rainy"] - heavy).abs().max() < 0.501 / 255
    assert torch.equal(items[1]["background"], cat)


def test_photographs_of_several_folders(photos, tmp_path):
    Image.fromarray(data.rocket()).save(tmp_path / "rocket.png")
    both = list_photos([str(photos), str(tmp_path)])
    assert [path.name for path in both] == ["cat.png", "cup.png", "rocket.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images .* under .*empty"):
        list_photos([str(photos), str(tmp_path / "empty")])


def test_unknown_presets_are_named(photos):
    with pytest.raises(ValueError, match="unknown presets"):
        RainyPhotos(str(photos), ["drizzle"])
