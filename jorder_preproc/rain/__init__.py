"""The rain model: streaks, accumulation, presets and their composition (Sec. 3)."""

from jorder_preproc.rain.compose import compose
from jorder_preproc.rain.identity import image_name
from jorder_preproc.rain.presets import PRESETS, AccumulationPreset, RainPreset, get_preset
from jorder_preproc.rain.synthesize import RainSample, StreakLayer, add_rain, synthesize_rain

__all__ = [
    "PRESETS",
    "AccumulationPreset",
    "RainPreset",
    "RainSample",
    "StreakLayer",
    "add_rain",
    "compose",
    "get_preset",
    "image_name",
    "synthesize_rain",
]
