"""Rain on photographs and deraining: a table of PSNR and SSIM, a sheet, and a page of all images.

    make demo

The photographs come inside scikit-image and scikit-learn; nothing is downloaded, and none
of them was used in training.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import jinja2
from PIL import Image
from rich.console import Console
from rich.table import Table

from evaluation.datasets.photos import built_in_photographs
from evaluation.figures.contact_sheet import draw_sheet, thumbnail_row, to_thumbnail
from jorder_preproc.compare import jpeg_uri
from jorder_preproc.functional.derain import Derained, derain
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.models import load_model
from jorder_preproc.rain import RainSample, add_rain, synthesize_rain

DRY = "no rain"
PRESETS = ("light", "heavy", "rain800", DRY)
SHEET = Path("demo_output/sheet.jpg")
SHOWN = (("chelsea", "heavy"), ("flower", "light"))
"""Photographs and presets on the sheet."""
PAGE = Path("demo_output/photographs.html")
TITLES = ("clean", "rainy", "mask", "derained")
SHEET_WIDTH_PX = 450
PAGE_WIDTH_PX = 400

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>jorder-preproc: rain on photographs</title>
<style>
body {font: 16px sans-serif; margin: 2em} img {width: 100%} figure {margin: 0 0 2em}
.images {display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px}
</style>
{% for caption, images in rows %}
<figure><figcaption>{{ caption }}</figcaption><div class="images">
{% for title, image in zip(titles, images) %}
<div>{{ title }}<img src="{{ image }}" alt="{{ title }}"></div>
{% endfor %}</div></figure>
{% endfor %}</html>
"""


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


def describe(result: Result) -> str:
    """Name, preset, and PSNR before and after."""
    before = float(psnr(result.sample.rainy, result.sample.background))
    after = float(psnr(result.derained.background, result.sample.background))
    change = f"{after:.2f} dB" if result.preset == DRY else f"{before:.2f} dB -> {after:.2f} dB"
    return f"{result.photograph}, {result.preset}: {change}"


def draw_shown(results: list[Result]) -> Image.Image:
    """A row for each of `SHOWN`: rainy | derained."""
    by_name = {(r.photograph, r.preset): r for r in results}
    rows = []
    for result in (by_name[shown] for shown in SHOWN):
        images = (result.sample.rainy, result.derained.background)
        rows.append(thumbnail_row(images, (describe(result), ""), SHEET_WIDTH_PX))
    return draw_sheet(("rainy", "derained"), rows)


def render_page(results: list[Result]) -> str:
    """An HTML page with all results, the images inside it."""
    rows = []
    for r in results:
        background, _, region_mask, _ = r.derained
        images = (r.sample.background, r.sample.rainy, region_mask, background)
        thumbnails = [to_thumbnail(image, PAGE_WIDTH_PX) for image in images if image is not None]
        rows.append((describe(r), [jpeg_uri(thumbnail, quality=88) for thumbnail in thumbnails]))
    return jinja2.Template(_PAGE, autoescape=True).render(titles=TITLES, rows=rows, zip=zip)


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
    draw_shown(results).save(SHEET, quality=85)
    PAGE.write_text(render_page(results), encoding="utf-8")
    console.print(f"{len(results) / seconds:.1f} images per second derained on the CPU.")
    print(f"rainy | derained: {SHEET.resolve()}")
    print(f"all {len(results)} images: {PAGE.resolve()}")


if __name__ == "__main__":
    main()
