"""Images behind a veil, the loss on them, and a training run."""

import itertools
import json

import numpy as np
import pytest
import torch

from jorder_preproc.functional.deveil import deveil, estimate_light
from jorder_preproc.models import DeveilNetwork, load_deveil_model
from tests.networks import random_deveil_network
from training.__main__ import main
from training.data import DrawSampler
from training.export import export
from training.losses import accumulation_loss
from training.model import DeveilTraining
from training.veils import VeiledPhotos, join, move_black_point, vary_colours


def views(photos, **options):
    settings = dict(shape=(32, 40), mixture={"heavy": 1.0}, layers_per_preset=2)
    return VeiledPhotos(str(photos), **(settings | options))


def flat(item):
    """Whether the target of an item is of one colour."""
    return bool(item["background"].max() - item["background"].min() < 1e-6)


def test_an_item_is_a_function_of_its_number(photos):
    first, again = views(photos)[77], views(photos)[77]
    for name in first:
        assert torch.equal(first[name], again[name])


def test_a_veil_without_darkening_or_streaks_is_koschmieders(photos):
    options = dict(gamma=(1.0, 1.0), depth=0.0, clear=0.0, streaks=0.0, light_known=1.0)
    dataset = views(photos, **options)
    found = []
    for draw in range(12):
        item = dataset[draw]
        light = item["atmospheric_light"]
        # A - O = alpha (A - B)
        alpha = (light - item["rainy"]) / (light - item["background"])
        alpha = alpha[item["background"] < 0.7]
        if len(alpha):
            torch.testing.assert_close(alpha, alpha[0].expand_as(alpha), rtol=0, atol=1e-4)
            assert 0.5 <= alpha[0] <= 1
            found.append(float(alpha[0]))
    assert np.ptp(found) > 0.2


def test_the_target_is_brighter_than_what_was_darkened(photos):
    options = dict(gamma=(1.5, 1.5), depth=0.0, clear=0.0, streaks=0.0, light_known=1.0)
    dataset = views(photos, **options)
    item = next(item for item in map(dataset.__getitem__, range(9)) if not flat(item))
    rainy, darkened, light = item["rainy"], item["background"] ** 1.5, item["atmospheric_light"]
    darkest = darkened.argmin()
    alpha = ((light - rainy) / (light - darkened)).flatten()[darkest]
    expected = alpha * darkened + (1 - alpha) * light
    torch.testing.assert_close(rainy, expected, rtol=0, atol=1e-5)


def test_a_clear_view_is_its_own_target(photos):
    dataset = views(photos, clear=1.0, streaks=1.0)
    for draw in range(6):
        item = dataset[draw]
        assert torch.equal(item["rainy"], item["background"])


def test_every_epoch_has_one_white_and_one_black_image(photos):
    dataset = views(photos)
    for seed in (0, 3):
        places = set()
        draws = iter(DrawSampler(dataset, seed))
        for _ in range(20):
            # an epoch is two photographs, one white image and one black
            epoch = [dataset[draw] for draw in itertools.islice(draws, 4)]
            flats = [place for place, item in enumerate(epoch) if flat(item)]
            colours = [float(epoch[place]["background"].mean()) for place in flats]
            assert sorted(colours) == [0.0, 1.0]
            places.update(flats)
        assert places == {0, 1, 2, 3}  # in no fixed order
    unbalanced = views(photos, white_balance=False)
    assert not any(flat(unbalanced[draw]) for draw in range(20))


def test_every_epoch_shows_every_photograph_once(photos, monkeypatch):
    dataset = views(photos, pieced=0.0)
    looked_at = []
    original = dataset._view
    monkeypatch.setattr(
        dataset,
        "_view",
        lambda photo, rng: looked_at.append(int(photo.sum())) or original(photo, rng),
    )
    expected = sorted(int(photo.sum()) for photo in dataset.photos)
    for epoch in range(10):
        looked_at.clear()
        for draw in range(4 * epoch, 4 * epoch + 4):
            dataset[draw]
        assert sorted(looked_at) == expected


def test_white_and_black_stay_without_streaks(photos):
    dataset = views(photos, streaks=1.0)
    items = [dataset[draw] for draw in range(40)]
    colours = [float(item["background"].mean()) for item in items if flat(item)]
    assert sorted(colours) == [0.0] * 10 + [1.0] * 10


@pytest.mark.parametrize("light_known", [0.0, 1.0])
def test_the_light_of_a_veil_is_told_or_estimated(photos, light_known):
    dataset = views(photos, light_known=light_known, clear=0.5, streaks=0.0)
    as_estimated = []
    for item in map(dataset.__getitem__, range(60)):
        estimate = estimate_light(item["rainy"][None])[0]
        clear = torch.equal(item["rainy"], item["background"])
        if clear and not flat(item):
            assert torch.equal(item["atmospheric_light"], estimate)
        elif not clear:
            as_estimated.append(torch.equal(item["atmospheric_light"], estimate))
    assert len(as_estimated) > 10 and set(as_estimated) == {light_known == 0.0}


def test_black_point_moves_and_white_stays():
    image = torch.full((3, 40, 50), 0.5)
    image[:, 0, 0] = 0.0  # one pixel of 2,000 is no black point
    image[1, 1:3] = 0.2
    image[:, 5] = 1.0
    moved = move_black_point(image, 0.5)
    expected = (image - 0.1) / 0.9
    expected[:, 0, 0] = 0.0
    torch.testing.assert_close(moved, expected)
    assert torch.equal(move_black_point(image, 0.0), image)
    assert torch.equal(move_black_point(torch.ones(3, 4, 4), 1.0), torch.ones(3, 4, 4))


def test_some_views_have_another_black_point(photos):
    darkest = {
        share: [
            float(views(photos, blacks=share, clear=1.0, white_balance=False)[draw]["rainy"].min())
            for draw in range(20)
        ]
        for share in (0.0, 1.0)
    }
    assert np.mean(darkest[1.0]) < 0.7 * np.mean(darkest[0.0])


def test_joined_views_keep_their_places():
    first, second = torch.rand(3, 20, 28), torch.rand(3, 20, 28) + 2
    axes = set()
    for draw in range(20):
        joined = join(first, second, np.random.default_rng(draw))
        ours = joined[0] < 1.5
        height, width = int(ours.any(1).sum()), int(ours.any(0).sum())
        expected = second.clone()
        expected[:, :height, :width] = first[:, :height, :width]
        assert torch.equal(joined, expected)
        assert (width == 28 and 5 <= height <= 15) or (height == 20 and 7 <= width <= 21)
        axes.add(width == 28)
    assert axes == {False, True}


def test_colours_vary_within_the_range():
    view = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    varied = [vary_colours(view, 0.5, np.random.default_rng(draw)) for draw in range(40)]
    assert all(v.min() >= 0 and v.max() <= 1 for v in varied)
    unchanged = sum(torch.equal(v, view) for v in varied)
    assert 1 <= unchanged <= 12  # an eighth
    grey = torch.full((3, 4, 4), 0.25)
    ratios = {
        round(float(v[0, 0, 0] / v[1, 0, 0]), 4)
        for v in (vary_colours(grey, 0.5, np.random.default_rng(draw)) for draw in range(20))
    }
    assert 1.0 in ratios and len(ratios) > 5  # another colour of the light, every other time


def test_loss_by_hand():
    """alpha = 1 leaves the images as they are; the logarithm is of each image."""
    rainy = torch.stack([torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), 0.9)])
    target = torch.stack([torch.full((3, 8, 8), 0.3), torch.full((3, 8, 8), 0.9)])
    labels = {"background": target, "atmospheric_light": torch.ones(2, 3, 1, 1)}
    loss = accumulation_loss(DeveilNetwork("jorder_deveil_lite"), rainy, labels)
    expected = (np.log(0.2**2 + 1e-4) + np.log(1e-4)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_loss_is_of_the_background_that_deveil_gives():
    network = random_deveil_network()
    generator = torch.Generator().manual_seed(3)
    rainy, target = torch.rand(2, 1, 3, 40, 40, generator=generator) * 0.4 + 0.3
    light = torch.full((1, 3, 1, 1), 0.95)
    labels = {"background": target, "atmospheric_light": light}
    background = deveil(network, rainy, atmospheric_light=light).background
    assert background.min() > 0 and background.max() < 1  # not clamped, as in the loss
    distance = (background - target)[..., ::2, ::2].square().mean()
    loss = accumulation_loss(network, rainy, labels)
    assert loss.item() == pytest.approx((distance + 1e-4).log().item(), rel=1e-4)


def test_the_loss_falls(photos):
    torch.manual_seed(0)
    dataset = views(photos, depth=0.0, clear=0.0, streaks=0.0, white_balance=False)
    items = [dataset[draw] for draw in range(4)]
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    model = DeveilTraining("jorder_deveil_lite")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(150):
        loss = model(mode="loss", **batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - np.log(4)  # half the distance


def test_train_and_export(photos, tmp_path):
    work_dir, out = tmp_path / "run", tmp_path / "out" / "jorder_deveil_lite.safetensors"
    arguments = [
        "configs/training/jorder_deveil_lite.py", "--photos", str(photos),
        "--val-photos", str(photos), "--work-dir", str(work_dir), "--iterations", "2",
        "--cfg-options", "train_dataloader.dataset.shape=(32,48)",
        "train_dataloader.dataset.layers_per_preset=2", "train_dataloader.batch_size=2",
        "default_hooks.logger.interval=1",
    ]  # fmt: skip
    assert main(arguments) == 0
    scores = export(work_dir, out, str(photos), "two photographs")
    record = json.loads((work_dir / "best.json").read_text())
    by_preset = {score.rain: score for score in scores}
    assert list(by_preset) == ["dry", "accumulation"]
    expected = record["validation"]["psnr/accumulation"]
    assert by_preset["accumulation"].psnr == pytest.approx(expected, abs=0.01)
    assert "kMAC per cell of the overview" in out.with_suffix(".md").read_text()
    assert load_deveil_model(out).name == "jorder_deveil_lite"
