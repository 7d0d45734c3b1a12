"""`python -m training calibrate WEIGHTS PHOTOS`: set the threshold on the probability of rain.

The probability is predicted for clean photographs and for the same photographs with rain, in three
forms: at native size, as JPEGs of 256x256, and as random crops. The threshold is written into the
weights file, which otherwise stays as it is.

The rule: in steps of 0.01, the lowest threshold at which 97 % of the dry photographs are left
unchanged in each form. Rain that is left unchanged stays entirely, while a dry photograph that is
derained changes little; and rain unlike that of the presets has lower probabilities than theirs.
But no higher than the largest threshold at which at most 1 % of `light` and none of `heavy` are
left unchanged in each form; and at most 0.5, so that no image is left unchanged that more probably
shows rain.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from jorder_preproc.commands import check_output
from jorder_preproc.errors import UserError
from jorder_preproc.functional import rain_probability
from jorder_preproc.images import pixels_to_float
from jorder_preproc.models import Jorder, load_model, save_weights
from jorder_preproc.models.shipped import SHIPPED
from jorder_preproc.rain.identity import image_name, rain_generator
from training.command_line import command
from training.data import list_photos, random_window, read_photo
from training.markdown import markdown_table
from training.stick import DRY, SMALL, draw_pair

RAINS = ("light", "heavy", "storm", "rain800")
"""Presets in the table; the first two determine the threshold."""
FORMS = ("native", "256", "windows")

CALIBRATION_SEED = 2  # not that of the score
LIGHT_LEFT_ALONE = 0.01
DRY_LEFT_ALONE = 0.97
HIGHEST_THRESHOLD = 0.5

_WINDOWS = 8
_SMALLEST_WINDOW_PX = 128

Probabilities = Mapping[tuple[str, str], Tensor]
"""Of rain, float64 (n,), by kind of rain (`dry` or of `RAINS`) and form (of `FORMS`)."""


@dataclass(frozen=True)
class Row:
    """Effect of the threshold on one kind of image.

    Attributes:
        rain: `dry`, or one of `RAINS`.
        form: one of `FORMS`.
        images: number of images.
        left_alone: share whose probability of rain is below the threshold.
        lowest, highest: of their probabilities of rain.
        auc: see `auc`, against `dry` in this form; None for `dry`.
    """

    rain: str
    form: str
    images: int
    left_alone: float
    lowest: float
    highest: float
    auc: float | None


def measure(
    network: Jorder, photos: str, seed: int = CALIBRATION_SEED, limit: int | None = None
) -> Probabilities:
    """The network's probabilities of rain on photographs, dry and with rain.

    Args:
        network: one with `presence`.
        photos: folder of clean photographs, best not those that it was trained on.
        seed: of the rain and of the windows.
        limit: the first so many photographs by name; None takes all.

    Raises:
        UserError: no photographs, a limit below 1, or the network does not predict it.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for path in list_photos(photos, limit):
        pixels, name = read_photo(path), image_name(path, photos)
        generator = rain_generator(seed, f"{name}, windows")
        shorter = min(pixels.shape[:2])
        windows = []
        for _ in range(_WINDOWS):
            side = int(generator.integers(min(_SMALLEST_WINDOW_PX, shorter), shorter + 1))
            windows.append(random_window(pixels.shape, (side, side), generator))
        for rain in (DRY, *RAINS):
            whole = draw_pair(rain, pixels, seed, name).rainy
            small = draw_pair(rain + SMALL, pixels, seed, name).rainy
            parts = [whole[:, rows, columns] for rows, columns in windows]
            for form, images in zip(FORMS, ([whole], [small], parts), strict=True):
                found.setdefault((rain, form), []).extend(
                    rain_probability(network, pixels_to_float(image)).item() for image in images
                )
    return {key: torch.tensor(values, dtype=torch.float64) for key, values in found.items()}


def choose_threshold(probabilities: Probabilities) -> float:
    """The threshold by the rule above."""
    largest = 1.0
    for rain, share in (("light", LIGHT_LEFT_ALONE), ("heavy", 0.0)):
        for form in FORMS:
            values = probabilities[rain, form].sort().values
            # exactly floor(share n) values lie below this one
            largest = min(largest, float(values[math.floor(share * len(values))]))
    lowest = 0.0
    for form in FORMS:
        values = probabilities[DRY, form].sort().values
        left_alone = float(values[math.ceil(DRY_LEFT_ALONE * len(values)) - 1])
        lowest = max(lowest, (math.floor(100 * left_alone) + 1) / 100)
    return min(lowest, largest, HIGHEST_THRESHOLD)


def describe(probabilities: Probabilities, threshold: float) -> list[Row]:
    """The effect of a threshold, one row per kind of image."""
    return [
        Row(
            rain=rain,
            form=form,
            images=len(values),
            left_alone=(values < threshold).double().mean().item(),
            lowest=values.min().item(),
            highest=values.max().item(),
            auc=None if rain == DRY else auc(probabilities[DRY, form], values),
        )
        for (rain, form), values in probabilities.items()
    ]


def auc(dry: Tensor, rainy: Tensor) -> float:
    """Area under the ROC curve: how often a rainy image has the higher probability of rain.

    Args:
        dry, rainy: probabilities, (n,) and (m,). Of all n m pairs equal ones count half.

    Returns:
        In [0, 1]; 1 if a threshold separates them, 0.5 by chance.
    """
    return (torch.sign(rainy[:, None] - dry).double().mean().item() + 1) / 2


def to_markdown(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    columns = ["rain", "form", "images", "left alone", "lowest", "highest", "AUC against dry"]
    table = []
    for row in rows:
        cells = [row.rain, row.form, str(row.images), f"{100 * row.left_alone:.1f} %"]
        cells += [f"{row.lowest:.4g}", f"{row.highest:.4g}"]
        cells += ["-" if row.auc is None else f"{row.auc:.4f}"]
        table.append(cells)
    return markdown_table(columns, table, left=2)


def weights_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Parser of `python -m training NAME WEIGHTS PHOTOS`, for what measures trained weights."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", type=Path, help="safetensors file")
    parser.add_argument("photos", help="folder of clean photographs")
    parser.add_argument("--model", default="jorder_e_lite", help="network of the weights")
    return parser


@command
def main(arguments: list[str]) -> None:
    """Write the threshold and print the table."""
    parser = weights_parser("calibrate", __doc__)
    parser.add_argument("--photos-limit", type=int, help="only the first so many, for a quick look")
    parser.add_argument("--seed", type=int, default=CALIBRATION_SEED, help="of the rain")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    args = parser.parse_args(arguments)
    if args.json is not None:
        check_output(args.json.parent)
        args.json.parent.mkdir(parents=True, exist_ok=True)
    if args.weights.resolve() in {shipped.file.resolve() for shipped in SHIPPED.values()}:
        raise UserError(
            f"{args.weights} are shipped weights, which are known by their digest; calibrate a copy"
        )
    network = load_model(args.model, args.weights)
    probabilities = measure(network, args.photos, args.seed, args.photos_limit)
    network.dry_threshold = choose_threshold(probabilities)
    with safe_open(args.weights, "pt") as file:
        dtype = file.get_tensor(next(iter(file.keys()))).dtype
    save_weights(network, args.weights, dtype)
    rows = describe(probabilities, network.dry_threshold)
    print(to_markdown(rows))
    print(f"\nWrote the threshold {network.dry_threshold:.4g} to {args.weights}")
    if args.json is not None:
        record = {
            "weights": str(args.weights),
            "sha256": hashlib.sha256(args.weights.read_bytes()).hexdigest(),
            "dry_threshold": network.dry_threshold,
            "seed": args.seed,
            "rows": [asdict(row) for row in rows],
        }
        args.json.write_text(json.dumps(record, indent=1) + "\n")
