"""Four types of rain, synthesized and removed: Fig. 14."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL import Image

from evaluation.datasets.photos import Loader
from evaluation.figures.contact_sheet import draw_sheet, thumbnail_row
from evaluation.report.grid import Cell, Grid
from evaluation.restoration.methods import INPUT
from evaluation.restoration.scores import (
    DIGITS,
    Scores,
    add_rain_to_all,
    mean_scores,
    score,
    to_8_bits,
)
from jorder_preproc.functional.derain import derain
from jorder_preproc.models import DeveilNetwork, Jorder
from jorder_preproc.rain import RainPreset
from jorder_preproc.rain.presets import AccumulationPreset

DERAINED, DEVEILED = "derained", "derained+deveil"
_WIDTH_PX = 300


TYPES: dict[str, RainPreset] = {
    # near drops, sharp and broad: each covers what is behind it
    "occluding": RainPreset(
        layers=(1, 2),
        density=(2e-4, 5e-4),
        length_px=(30.0, 60.0),
        width_px=(1.6, 2.6),
        brightness=(0.7, 0.95),
        blur_px=(0.0, 0.2),
        blend_probability=1.0,
    ),
    # drops too far away to be seen one by one
    "accumulated": RainPreset(
        layers=(0, 0),
        accumulation=AccumulationPreset(transmission=(0.5, 0.7), depth_probability=1.0),
    ),
    # in between: many fine, faint streaks out of focus, behind them a thin veil
    "veiling": RainPreset(
        layers=(3, 4),
        angle_deg=(-15.0, 15.0),
        layer_angle_deg=10.0,
        density=(2.5e-3, 4e-3),
        length_px=(15.0, 30.0),
        width_px=(0.5, 0.9),
        brightness=(0.15, 0.3),
        blur_px=(0.5, 0.9),
        blend_probability=0.0,
        accumulation=AccumulationPreset(transmission=(0.75, 0.9), depth_probability=1.0),
    ),
    # drops that catch the light: short, bright and few
    "sparkling": RainPreset(
        layers=(1, 1),
        density=(3e-4, 6e-4),
        length_px=(2.0, 5.0),
        width_px=(1.0, 1.8),
        brightness=(0.9, 1.0),
        blur_px=(0.0, 0.2),
        blend_probability=0.0,
    ),
}
"""In the order of the figure; those with accumulation are deveiled as well."""


def study_types(
    network: Jorder, deveil: DeveilNetwork, photographs: Mapping[str, Loader], seed: int = 1
) -> tuple[Grid, Image.Image]:
    """Derain the four types, and deveil those with accumulation.

    Returns:
        Mean PSNR and SSIM of each type, and a sheet with a photograph of each.
    """
    table: list[list[Cell]] = []
    rows = []
    names = [INPUT, DERAINED, DEVEILED]
    for number, (kind, preset) in enumerate(TYPES.items()):
        scores: dict[str, list[Scores]] = {name: [] for name in names}
        # each type is shown on another photograph
        shown = number % len(photographs)
        for at, photograph in enumerate(add_rain_to_all(photographs, preset, seed)):
            restored = {
                INPUT: photograph.rainy,
                DERAINED: to_8_bits(derain(network, photograph.rainy).background),
            }
            if preset.accumulation is not None:
                both = derain(network, photograph.rainy, deveil=True, deveil_model=deveil)
                restored[DEVEILED] = to_8_bits(both.background)
            for name, image in restored.items():
                scores[name].append(score(photograph.name, image, photograph.clean))
            if at == shown:
                captions = [f"{scores[n][-1][0]:.2f} dB" if n in restored else "" for n in names]
                captions[0] = f"{kind}, {captions[0]}"
                white = torch.ones_like(photograph.clean)
                images = [*(restored.get(name, white) for name in names), photograph.clean]
                rows.append(thumbnail_row(images, [*captions, ""], _WIDTH_PX))
        means = [mean_scores(scores[name]) if scores[name] else (None, None) for name in names]
        table.append([kind, *(db for db, _ in means), *(share for _, share in means)])
    columns = {f"{metric} {name}": digits for metric, digits in DIGITS.items() for name in names}
    grid = Grid(
        ["rain", *columns],
        table,
        columns,
        f"Means over {len(photographs)} photographs, on luminance; PSNR in dB.",
    )
    return grid, draw_sheet([*names, "clean"], rows)
