"""The sample images of a downstream evaluation as a contact sheet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from evaluation.figures.contact_sheet import draw_sheet
from evaluation.report.html import sample_file
from evaluation.report.schema import Results
from jorder_preproc.errors import UserError

TITLES = ("clean", "rainy", "derained")
_WIDTH_PX = 400
_CAPTION = 40


def draw_samples(results: Sequence[Results], folder: Path, rows: int) -> Image.Image:
    """Clean, rainy and derained images with the model's predictions, one sample below the other.

    Args:
        results: tables, which take turns to give a sample each.
        folder: of `results.json` and the samples' images.
        rows: at most so many samples.

    Raises:
        UserError: no samples, or an image outside of the folder.
        OSError: an image that cannot be read.
    """
    turns = itertools.zip_longest(*(result.samples for result in results))
    samples = [sample for turn in turns for sample in turn if sample is not None]
    if not samples:
        raise UserError(f"{folder} has no samples; evaluate again with --samples above 0")
    sheet = []
    for sample in samples[:rows]:
        row = []
        for title in TITLES:
            with Image.open(sample_file(folder, sample.images[title])) as image:
                height = round(_WIDTH_PX * image.height / image.width)
                thumbnail = image.convert("RGB").resize(
                    (_WIDTH_PX, height), Image.Resampling.LANCZOS
                )
            caption = sample.predictions[title]
            shortened = caption[: _CAPTION - 3] + "..." if len(caption) > _CAPTION else caption
            row.append((thumbnail, shortened))
        sheet.append(row)
    return draw_sheet(TITLES, sheet)
