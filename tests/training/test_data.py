import itertools

import pytest
import torch
from PIL import Image
from skimage import data

from jorder_preproc.rain import synthesize_rain
from training.data import DrawSampler, RainyPhotos, list_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    Image.fromarray(data.coffee()).save(folder / "cup.png")
    return folder


def test_draws_never_repeat_and_follow_seed_and_epoch():
    sampler = DrawSampler(None, seed=1)
    draws = list(itertools.islice(sampler, 1000))
    assert len(set(draws)) == 1000
    assert draws == list(itertools.islice(DrawSampler(None, seed=1), 1000))
    assert draws[:5] != list(itertools.islice(DrawSampler(None, seed=2), 5))


def test_validation_rain_is_the_presets(photos):
    items = list(RainyPhotos(str(photos), ["clean", "heavy"], seed=1))
    assert [item["preset"] for item in items] == ["clean", "heavy"] * 2
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1) / 255
    assert torch.equal(items[0]["rainy"], cat)
    heavy = synthesize_rain(cat, "heavy", 1, "cat.png").rainy
    # rounded to 8 bits, as a picture file would be
    assert 0.4 / 255 < (items[1]["rainy"] - heavy).abs().max() < 0.501 / 255
    assert torch.equal(items[1]["background"], cat)


def test_photographs_of_several_folders(photos, tmp_path):
    Image.fromarray(data.rocket()).save(tmp_path / "rocket.png")
    both = list_photos([str(photos), str(tmp_path)])
    assert [path.name for path in both] == ["cat.png", "cup.png", "rocket.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures .* under .*empty"):
        list_photos([str(photos), str(tmp_path / "empty")])


def test_unknown_presets_are_named(photos):
    with pytest.raises(ValueError, match="unknown presets"):
        RainyPhotos(str(photos), ["drizzle"])
