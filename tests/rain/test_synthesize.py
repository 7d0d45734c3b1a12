import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage import data

from jorder_preproc.metrics import psnr
from jorder_preproc.rain import PRESETS, AccumulationPreset, RainPreset, compose, synthesize_rain
from jorder_preproc.rain.accumulation import draw_accumulation
from jorder_preproc.rain.identity import pixel_digest
from jorder_preproc.rain.synthesize import VISIBLE, add_rain, draw_layer


@pytest.fixture(scope="module")
def photo():
    """scikit-image's cat, at about the size of the photographs the presets are pinned on."""
    return torch.from_numpy(data.chelsea()).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("preset", PRESETS)
def test_labels_compose_to_the_rainy_image(photo, preset):
    sample = synthesize_rain(photo, preset, seed=3)
    expected = compose(
        sample.darkened,
        sample.streak_map,
        sample.region_mask,
        sample.transmission,
        sample.atmospheric_light,
    )
    torch.testing.assert_close(sample.rainy, expected, atol=1e-5, rtol=0)
    assert torch.equal(sample.background, photo)
    assert sample.streak_map.min() >= 0
    assert set(sample.region_mask.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(sample.region_mask[0].bool(), (sample.streak_map > VISIBLE).any(0))
    assert sample.transmission.min() > 0 and sample.transmission.max() <= 1
    json.dumps(sample.parameters)


@pytest.mark.parametrize("preset", ["heavy", "storm"])
def test_rain_goes_where_the_image_is(preset):
    """On `meta`, which stands for any other device than the CPU here."""
    rng, drawn = np.random.default_rng(0), PRESETS[preset]
    layers = [draw_layer((20, 30), drawn, rng) for _ in range(3)]
    veil = drawn.accumulation and draw_accumulation((20, 30), drawn.accumulation, rng)
    sample = add_rain(torch.empty(3, 20, 30, device="meta"), layers, veil)
    tensors = [value for value in vars(sample).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 7 and {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize("preset", ["light", "heavy", "rain800"])
def test_presets_without_a_veil_leave_dry_pixels_alone(photo, preset):
    sample = synthesize_rain(photo, preset, seed=1)
    dry = (sample.region_mask == 0).expand_as(photo)
    assert dry.any()
    assert torch.equal(sample.rainy[dry], photo[dry])


def test_accumulation_follows_koschmieder(photo):
    preset = RainPreset(
        layers=(0, 0),
        accumulation=AccumulationPreset(
            transmission=(0.7, 0.7), depth_probability=0.0, gamma=(1.4, 1.4),
            atmospheric_light=(0.9, 0.9), light_tint=0.0,
        ),
    )  # fmt: skip
    sample = synthesize_rain(photo, preset)
    expected = 0.7 * photo.numpy().astype(np.float64) ** 1.4 + 0.3 * 0.9
    np.testing.assert_allclose(sample.rainy.numpy(), expected, atol=2**-17)
    assert not sample.region_mask.any()


def test_depth_maps_fall_towards_the_farthest_point(photo):
    preset = RainPreset(
        layers=(0, 0),
        accumulation=AccumulationPreset(transmission=(0.6, 0.6), depth_probability=1.0),
    )
    alpha = synthesize_rain(photo, preset, seed=5).transmission
    assert float(alpha.min()) == pytest.approx(0.6, abs=2**-17)
    assert alpha.max() <= 1
    # outdoors, the upper part is farther away
    assert alpha[:, :60].mean() < alpha[:, -60:].mean()


def test_rain_depends_on_seed_and_image_id_alone(photo):
    other = (photo + 0.1).clamp(0, 1)
    first = synthesize_rain(photo, "light", seed=4, image_id="a.png")
    assert torch.equal(first.rainy, synthesize_rain(photo, "light", 4, "a.png").rainy)
    # the same streaks on another image of the same id: what is drawn is the same
    assert synthesize_rain(other, "light", 4, "a.png").parameters == first.parameters
    assert synthesize_rain(photo, "light", 4, "b.png").parameters != first.parameters
    assert synthesize_rain(photo, "light", 5, "a.png").parameters != first.parameters
    # without an id it is the pixels that count
    assert pixel_digest(photo) != pixel_digest(other)
    assert synthesize_rain(photo, "light", 4).parameters == (
        synthesize_rain(photo, "light", 4, pixel_digest(photo)).parameters
    )


DIGESTS = """
import hashlib, json
import numpy as np, torch
from jorder_preproc.rain import PRESETS, synthesize_rain

digests = {}
for size in ((61, 83), (120, 90)):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size))
    background = torch.from_numpy(pixels).float() / 255
    for preset in PRESETS:
        for seed in range(2):
            sample = synthesize_rain(background, preset, seed, "x")
            labels = {
                "S": sample.streak_map,
                "alpha": sample.transmission,
                "O": (sample.rainy * 255).round().byte(),
            }
            for name, label in labels.items():
                digest = hashlib.sha256(label.numpy().tobytes()).hexdigest()
                digests[f"{name} {size} {preset} {seed}"] = digest
print(json.dumps(digests))
"""


def test_the_same_rain_falls_on_any_processor():
    # without the vector instructions that numpy, torch and the C library choose at run time
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    plain = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "ATEN_CPU_CAPABILITY": "default",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4",
    }
    here, there = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", DIGESTS],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | extra,
            ).stdout
        )
        for extra in ({}, plain)
    )
    assert here == there


def test_wide_reaches_from_barely_visible_to_dense(photo):
    damage = [float(psnr(synthesize_rain(photo, "wide", k).rainy, photo)) for k in range(40)]
    assert max(damage) > 32
    assert min(damage) < 14


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.rand(1, 8, 8), ValueError, r"must be RGB \(3, H, W\) with"),
        (torch.rand(8, 8), ValueError, r"must be RGB \(3, H, W\) with"),
        (torch.rand(1, 3, 8, 8), ValueError, r"must be RGB \(3, H, W\) with .* \(1, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), TypeError, "must be float"),
        (torch.full((3, 8, 8), 255.0), ValueError, "divide 8-bit pixels by 255"),
        (torch.full((3, 8, 8), float("nan")), ValueError, "finite"),
    ],
)
def test_bad_images_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        synthesize_rain(image)


def test_bad_presets_are_refused(photo):
    with pytest.raises(ValueError, match="choose from light, heavy"):
        synthesize_rain(photo, "drizzle")
    with pytest.raises(TypeError, match="a name or a RainPreset"):
        synthesize_rain(photo, 3)
    with pytest.raises(ValueError, match="density needs"):
        RainPreset(density=(1e-2, 1e-3))
    with pytest.raises(ValueError, match="seed must be"):
        synthesize_rain(photo, seed=-1)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (2, 3)])
@pytest.mark.parametrize("preset", ["heavy", "rain800", "storm"])
def test_tiny_images_get_rain_too(size, preset):
    sample = synthesize_rain(torch.full((3, *size), 0.5), preset)
    assert sample.rainy.shape == (3, *size)
    assert sample.rainy.isfinite().all()
