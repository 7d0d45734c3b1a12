"""Rain on photographs, and off again: a table of PSNR and SSIM, and one sheet of images.

    make demo

The photographs come inside scikit-image and scikit-learn; nothing is downloaded, and none
of them was used in training.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from rich.console import Console
from rich.table import Table

from evaluation.datasets.photos import built_in_photographs
from evaluation.figures.contact_sheet import draw_sheet, to_thumbnail
from jorder_preproc.functional.derain import Derained, derain
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.models import load_model
from jorder_preproc.rain import RainSample, add_rain, synthesize_rain

DRY = "no rain"
PRESETS = ("light", "heavy", "rain800", DRY)
SHEET = Path("demo_output/sheet.png")
TITLES = ("clean", "rainy", "mask", "derained")
WIDTH_PX = 360


class Result(NamedTuple):
    """One photograph under one preset."""

    photograph: str
    preset: str
    sample: RainSample
    derained: Derained


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


def draw_results(results: list[Result]) -> Image.Image:
    """A row per result: clean | rainy | mask | derained."""
    rows = []
    for r in results:
        before = float(psnr(r.sample.rainy, r.sample.background))
        after = float(psnr(r.derained.background, r.sample.background))
        change = f"{after:.2f} dB" if r.preset == DRY else f"{before:.2f} dB -> {after:.2f} dB"
        captions = [f"{r.photograph}, {r.preset}: {change}", "", "", ""]
        background, _, region_mask, _ = r.derained
        images = (r.sample.background, r.sample.rainy, region_mask, background)
        thumbnails = [to_thumbnail(image, WIDTH_PX) for image in images if image is not None]
        rows.append(list(zip(thumbnails, captions, strict=True)))
    return draw_sheet(TITLES, rows)


def main() -> None:
    network = load_model()
    photographs = {name: load() for name, load in built_in_photographs().items()}
    results = []
    seconds = 0.0
    for preset in PRESETS:
        for name, clean in photographs.items():
            if preset == DRY:
                sample = add_rain(clean, [])
            else:
                sample = synthesize_rain(clean, preset, seed=0, image_id=name)
            start = time.perf_counter()
            derained = derain(network, sample.rainy, with_region_mask=True)
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
    draw_results(results).save(SHEET)
    console.print(f"{len(results) / seconds:.1f} images per second derained on the CPU.")
    console.print(f"clean | rainy | mask | derained: {SHEET.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
