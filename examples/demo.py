"""Rain on photographs, and off again: a table of PSNR and SSIM, and one sheet of pictures.

    make demo

The photographs come inside scikit-image and scikit-learn; nothing is downloaded, and none
of them was used in training.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_image
from torch import Tensor

from jorder_preproc.derain import Derained, derain
from jorder_preproc.images import float_to_pixels
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.models import load_model
from jorder_preproc.rain import RainSample, add_rain, synthesize_rain

DRY = "no rain"
PRESETS = ("light", "heavy", "rain800", DRY)
SHEET = Path("demo_output/sheet.png")
TITLES = ("clean", "rainy", "mask", "derained")
WIDTH_PX = 360
GAP_PX = 6


class Result(NamedTuple):
    """One photograph under one preset."""

    photograph: str
    preset: str
    sample: RainSample
    derained: Derained


def load_photographs() -> dict[str, Tensor]:
    """Clean photographs, float (3, H, W), in [0, 1]."""
    pixels = {
        "astronaut": skimage.data.astronaut(),
        "coffee": skimage.data.coffee(),
        "chelsea": skimage.data.chelsea(),
        "rocket": skimage.data.rocket(),
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
    }
    return {
        name: torch.from_numpy(np.array(values)).permute(2, 0, 1) / 255
        for name, values in pixels.items()
    }


def score(preset: str, results: list[Result]) -> list[str]:
    """One row of the table: means over the photographs."""
    clean = [r.sample.background for r in results]
    rainy = [r.sample.rainy for r in results]
    derained = [r.derained.background for r in results]
    count = len(results)
    row = [preset]
    for metric, digits in ((psnr, 2), (ssim, 4)):
        before = sum(float(metric(a, b)) for a, b in zip(rainy, clean, strict=True)) / count
        after = sum(float(metric(a, b)) for a, b in zip(derained, clean, strict=True)) / count
        if preset == DRY:  # the input is the reference; only what was changed has a value
            row += ["-", f"{after:.{digits}f}", "-"]
        else:
            gain = f"{after - before:+.{digits}f}"
            row += [f"{before:.{digits}f}", f"{after:.{digits}f}", gain]
    return row


def to_thumbnail(image: Tensor) -> Image.Image:
    """Picture of `WIDTH_PX`, from float (1 or 3, H, W), in [0, 1]."""
    pixels = float_to_pixels(image.expand(3, -1, -1), torch.uint8).permute(1, 2, 0).numpy()
    height = round(WIDTH_PX * pixels.shape[0] / pixels.shape[1])
    return Image.fromarray(pixels).resize((WIDTH_PX, height), Image.Resampling.LANCZOS)


def draw_sheet(results: list[Result]) -> Image.Image:
    """A row per result: clean | rainy | mask | derained."""
    rows = [
        [
            to_thumbnail(image)
            for image in (
                r.sample.background,
                r.sample.rainy,
                r.derained.region_mask,
                r.derained.background,
            )
        ]
        for r in results
    ]
    font = ImageFont.load_default(18)
    caption = 26
    height = caption + sum(row[0].height + caption + GAP_PX for row in rows)
    sheet = Image.new("RGB", (len(TITLES) * (WIDTH_PX + GAP_PX), height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(TITLES):
        draw.text((column * (WIDTH_PX + GAP_PX) + 4, 2), title, "black", font)
    top = caption
    for result, row in zip(results, rows, strict=True):
        for column, thumbnail in enumerate(row):
            sheet.paste(thumbnail, (column * (WIDTH_PX + GAP_PX), top))
        top += row[0].height
        before = float(psnr(result.sample.rainy, result.sample.background))
        after = float(psnr(result.derained.background, result.sample.background))
        change = f"{after:.2f} dB" if result.preset == DRY else f"{before:.2f} dB -> {after:.2f} dB"
        text = f"{result.photograph}, {result.preset}: {change}"
        draw.text((4, top + 2), text, "black", font)
        top += caption + GAP_PX
    return sheet


def main() -> None:
    network = load_model()
    photographs = load_photographs()
    results = []
    seconds = 0.0
    for preset in PRESETS:
        for name, clean in photographs.items():
            if preset == DRY:
                sample = add_rain(clean, [])
            else:
                sample = synthesize_rain(clean, preset, seed=0, image_id=name)
            start = time.perf_counter()
            derained = derain(network, sample.rainy)
            seconds += time.perf_counter() - start
            results.append(Result(name, preset, sample, derained))

    table = Table(title=f"{network.name}, mean over {len(photographs)} photographs, luminance")
    table.add_column("preset")
    for header in ("PSNR rainy", "derained", "gain", "SSIM rainy", "derained", "gain"):
        table.add_column(header, justify="right")
    for preset in PRESETS:
        table.add_row(*score(preset, [r for r in results if r.preset == preset]))
    console = Console()
    console.print(table)

    SHEET.parent.mkdir(exist_ok=True)
    draw_sheet(results).save(SHEET)
    console.print(f"{len(results) / seconds:.1f} pictures per second derained on the CPU.")
    console.print(f"clean | rainy | mask | derained: {SHEET.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
