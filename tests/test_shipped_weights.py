"""The weights in the package, on a photograph they were not trained on."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from jorder_preproc import JorderDerain, SynthesizeRain, derain, deveil, synthesize_rain
from jorder_preproc.metrics import psnr
from jorder_preproc.models import load_deveil_model, load_model
from jorder_preproc.rain import AccumulationPreset, RainPreset


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.chelsea()[20:276, 60:380])


def luminance_psnr(image, reference):
    a, b = (
        torch.from_numpy(np.array(each)).permute(2, 0, 1).float() / 255
        for each in (image, reference)
    )
    return float(psnr(a, b))


@pytest.mark.parametrize(("preset", "gain"), [("light", 6), ("heavy", 9), ("rain800", 5)])
def test_rain_comes_off(photo, preset, gain):
    before, after = [], []
    transform = JorderDerain()
    for seed in range(4):
        rainy = SynthesizeRain(preset, seed)(photo)
        before.append(luminance_psnr(rainy, photo))
        after.append(luminance_psnr(transform(rainy), photo))
    assert np.mean(after) - np.mean(before) > gain


def test_a_dry_image_hardly_changes(photo):
    assert luminance_psnr(JorderDerain()(photo), photo) > 38


def test_the_region_mask_finds_the_rain(photo):
    """F1 of R against the truth, over all pixels; it errs on the side of too much."""
    background = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
    sample = synthesize_rain(background, "heavy", seed=1)
    found = derain(load_model(), sample.rainy, with_region_mask=True).region_mask.bool()
    truth = sample.region_mask.bool()
    hits = (found & truth).sum()
    assert 2 * hits / (found.sum() + truth.sum()) > 0.75


def test_the_veil_comes_off(photo):
    before, after = [], []
    for seed in range(6):
        veiled = SynthesizeRain("accumulation", seed)(photo)
        image = torch.from_numpy(np.array(veiled)).permute(2, 0, 1) / 255
        clean = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
        before.append(float(psnr(image, clean)))
        after.append(float(psnr(deveil(load_deveil_model(), image).background, clean)))
    assert np.mean(after) - np.mean(before) > 2


def test_a_veil_with_depth_comes_off_better_than_by_any_gain_and_offset():
    """Those are fitted to the truth of each image; alpha is 0.5 to 0.7 at the farthest point."""
    veil = AccumulationPreset(transmission=(0.5, 0.7), depth_probability=1.0)
    preset = RainPreset(layers=(0, 0), accumulation=veil)
    ours, fitted = [], []
    for pixels in (data.chelsea(), data.coffee()):
        clean = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
        for seed in range(6):
            image = synthesize_rain(clean, preset, seed).rainy
            gain, offset = np.polyfit(image.numpy().ravel(), clean.numpy().ravel(), 1)
            fitted.append(float(psnr((gain * image + offset).clamp(0, 1), clean)))
            ours.append(float(psnr(deveil(load_deveil_model(), image).background, clean)))
    assert np.mean(ours) > np.mean(fitted) + 0.5


def test_a_clear_view_is_left_alone(photo):
    restored = JorderDerain(deveil=True)(photo)
    assert luminance_psnr(restored, photo) > 35
    means = [np.array(image, float).mean((0, 1)) for image in (restored, photo)]
    ratio = means[0] / means[1]
    np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.01)  # no cast


def test_auto_takes_a_thick_veil_for_one_and_a_clear_view_for_none(photo):
    clean = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
    fog = 0.55 * clean + 0.45 * 0.9
    both = torch.stack([clean, fog])
    result = derain(load_model(), both, deveil="auto", deveil_model=load_deveil_model()).background
    torch.testing.assert_close(result[0], derain(load_model(), clean).background)
    assert psnr(result[1], clean) > psnr(fog, clean) + 5
