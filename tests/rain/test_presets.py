import dataclasses

import numpy as np
import pytest
import torch
from skimage import data, transform

from jorder_preproc.metrics import psnr
from jorder_preproc.rain import PRESETS, AccumulationPreset, RainPreset, synthesize_rain

NAN, INF = float("nan"), float("inf")

# a field, values it must refuse, the start of the message
BAD_RAIN = [
    ("layers", [(-1, 2), (3, 2), (1, 101), (0.5, 1.5), (1,)], "layers needs"),
    ("renderers", [(1, 0), (0, 0, 0), (-1, 1, 1), (NAN, 1, 1), (INF, 1, 1)], "renderers needs"),
    ("angle_deg", [(-90, 0), (0, 90), (10, -10), (NAN, 0)], "angle_deg needs"),
    ("layer_angle_deg", [-1, 90, NAN], "layer_angle_deg needs"),
    ("angle_spread_deg", [(-1, 0), (2, 1), (0, 46)], "angle_spread_deg needs"),
    ("density", [(0, 1e-3), (1e-2, 1e-3), (1e-3, 0.2)], "density needs"),
    ("length_px", [(0.5, 2), (20, 10), (1, INF)], "length_px needs"),
    ("width_px", [(0, 1), (2, 1), (1, 51)], "width_px needs"),
    ("variation", [(-0.1, 0.1), (0.2, 0.1), (0, 3)], "variation needs"),
    ("taper", [(-0.1, 1), (1, 0), (0, 1.1)], "taper needs"),
    ("brightness", [(-0.1, 1), (1, 0.5), (0, 2.1)], "brightness needs"),
    ("tint", [-0.1, 1.1, NAN], "tint needs"),
    ("blur_px", [(-0.1, 1), (1, 0), (0, 11)], "blur_px needs"),
    ("blend_probability", [-0.1, 1.1, NAN], "blend_probability needs"),
    ("noise_density", [(0, 0.1), (0.2, 0.1), (0.5, 1.1)], "noise_density needs"),
    ("rain_rate_mm_h", [(0, 10), (20, 10), (10, 2000)], "rain_rate_mm_h needs"),
    ("exposure_s", [(0, 0.01), (0.02, 0.01), (0.01, 2)], "exposure_s needs"),
    ("focal_px", [(0, 500), (600, 500), (500, INF)], "focal_px needs"),
    ("near_m", [(0, 1), (1, 0.5), (0.5, NAN)], "near_m needs"),
    ("far_m", [(0, 3), (4, 3), (3, INF)], "far_m needs"),
    ("far_m", [(1, 3), (0.2, 0.3)], "far_m must begin beyond near_m"),
    ("contrast", [(0, 10), (20, 10), (1, INF)], "contrast needs"),
    ("oscillation", [(-0.1, 0.5), (0.5, 0.1), (0, 1.1)], "oscillation needs"),
    ("accumulation", [0.5], "accumulation needs"),
]
BAD_ACCUMULATION = [
    ("transmission", [(0, 1), (1, 0.5), (0.5, 1.1)], "transmission needs"),
    ("depth_probability", [-0.1, 1.1, NAN], "depth_probability needs"),
    ("gamma", [(0, 1), (2, 1), (1, 11)], "gamma needs"),
    ("atmospheric_light", [(-0.1, 1), (1, 0.5), (0, 1.1)], "atmospheric_light needs"),
    ("light_tint", [-0.1, 1.1, NAN], "light_tint needs"),
]


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        (kind, field, value, message)
        for kind, rows in ((RainPreset, BAD_RAIN), (AccumulationPreset, BAD_ACCUMULATION))
        for field, values, message in rows
        for value in values
    ],
)
def test_values_that_make_no_rain_are_refused(kind, field, value, message):
    with pytest.raises(ValueError, match=message):
        kind(**{field: value})


def test_every_field_has_a_check():
    for kind, rows in ((RainPreset, BAD_RAIN), (AccumulationPreset, BAD_ACCUMULATION)):
        assert {field for field, *_ in rows} == {field.name for field in dataclasses.fields(kind)}


@pytest.fixture(scope="module")
def photos():
    """Three photographs at the size of those the presets are pinned on."""
    images = [data.astronaut(), data.coffee(), data.chelsea()]
    small = [transform.resize(image, (320, 480), anti_aliasing=True) for image in images]
    return [torch.from_numpy(image).permute(2, 0, 1).float() for image in small]


def damage(photos, preset, seeds=5):
    """Mean PSNR of luminance, dB, of photographs in that rain."""
    return np.mean(
        [
            float(psnr(synthesize_rain(photo, preset, seed, number).rainy, photo))
            for seed in range(seeds)
            for number, photo in enumerate(photos)
        ]
    )


@pytest.mark.parametrize(
    ("preset", "low", "high"), [("light", 24, 28), ("heavy", 13, 16), ("rain800", 18.5, 22.5)]
)
def test_presets_do_the_damage_they_are_pinned_to(photos, preset, low, high):
    assert low < damage(photos, preset) < high


def test_severities_are_clearly_apart(photos):
    levels = [damage(photos, f"severity_{level}") for level in range(1, 6)]
    assert max(np.diff(levels)) < -2


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_pass_their_own_checks(preset):
    assert dataclasses.replace(PRESETS[preset]) == PRESETS[preset]
