"""`python -m training score PHOTOS`: the benchmark that weights are selected by.

It restores photographs with rain that is never trained on, and dry photographs; see
`training.stick`. Luminance PSNR and SSIM of 8-bit images, full frame. A derainer removes streaks,
so its reference keeps rain accumulation; a deveil network removes the accumulation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from torch import Tensor, nn

from jorder_preproc.commands import check_output
from jorder_preproc.functional import derain, deveil
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.models import (
    DeveilNetwork,
    Jorder,
    list_deveil_models,
    load_deveil_model,
    load_model,
)
from jorder_preproc.models.weights import find_weights
from training.baselines import restore
from training.calibrate import auc
from training.command_line import command
from training.markdown import markdown_table
from training.stick import (
    DRY,
    DRY_SMALL,
    SMALL,
    STICK,
    Pair,
    draw_pairs,
    list_rains,
    read_pairs,
)

DEVEIL_ROWS = (DRY, "accumulation")
VALIDATION_SEED = 1
WORST_SHARE = 0.05


@dataclass(frozen=True)
class Score:
    """One row: means over all images, against their references.

    Attributes:
        rain: kind of rain, see `list_rains`, or the name of a folder of pairs.
        images: number of images.
        input_psnr, input_ssim: of the rainy image; dB (100 where it equals the reference)
            and [0, 1].
        psnr, ssim: of the restored image.
        worst_gain: mean of `psnr - input_psnr` over the worst 5 % of the images, at least one.
        unchanged: share of the images that were returned bit for bit.
        auc: area under the ROC curve, [0, 1], of the probability of rain on these images
            against the dry images of their size (`dry` or `dry_256`). None for dry rows, if
            these were not scored, or if the network does not predict the probability.
    """

    rain: str
    images: int
    input_psnr: float
    input_ssim: float
    psnr: float
    ssim: float
    worst_gain: float
    unchanged: float
    auc: float | None


def load_network(name: str, weights: str | None) -> Jorder | DeveilNetwork:
    """A trained derainer or deveil network; see `load_model`, `load_deveil_model`."""
    if name in list_deveil_models():
        return load_deveil_model(weights)
    return load_model(name, weights)


def score(
    network: nn.Module,
    photos: str,
    rains: Sequence[str] | None = None,
    pairs: str | None = None,
    limit: int | None = None,
    seed: int = VALIDATION_SEED,
) -> list[Score]:
    """Score a network, one row per kind of rain.

    Args:
        network: a derainer, a deveil network, or a module that maps rainy (N, 3, H, W) to the
            background.
        photos: folder of clean photographs.
        rains: names from `list_rains`; None takes `STICK` for a derainer, `DEVEIL_ROWS` for a
            deveil network.
        pairs: folder of rainy images with clean ones, see `read_pairs`, for one more row.
        limit: the first so many photographs and pairs by name; None takes all.
        seed: of the rain.

    Raises:
        UserError: see `draw_pairs` and `read_pairs`.
    """
    derains = not isinstance(network, DeveilNetwork)
    measured = [
        (rain, _measure(network, draw_pairs(rain, photos, seed, limit, veil_stays=derains)))
        for rain in rains or (STICK if derains else DEVEIL_ROWS)
    ]
    dry = {rain: values for rain, values in measured if rain in (DRY, DRY_SMALL)}
    if pairs is not None:
        measured.append((Path(pairs).resolve().name, _measure(network, read_pairs(pairs, limit))))
    return [
        _summarize(rain, values, dry.get(DRY_SMALL if rain.endswith(SMALL) else DRY))
        for rain, values in measured
    ]


def _summarize(rain: str, values: Tensor, dry: Tensor | None) -> Score:
    means = values.mean(0).tolist()
    input_psnr, input_ssim, restored_psnr, restored_ssim, unchanged, probability = means
    gains = (values[:, 2] - values[:, 0]).sort().values
    worst_gain = float(gains[: math.ceil(WORST_SHARE * len(values))].mean())
    area = None
    if dry is not None and rain not in (DRY, DRY_SMALL) and not math.isnan(probability):
        area = auc(dry[:, -1], values[:, -1])
    return Score(
        rain=rain,
        images=len(values),
        input_psnr=input_psnr,
        input_ssim=input_ssim,
        psnr=restored_psnr,
        ssim=restored_ssim,
        worst_gain=worst_gain,
        unchanged=unchanged,
        auc=area,
    )


def _measure(network: nn.Module, pairs: Sequence[Pair]) -> Tensor:
    """Float64 (n, 6), of each pair.

    PSNR and SSIM of the rainy and of the restored image, whether they are equal, and the
    probability of rain, NaN if the network does not predict it.
    """
    rows = []
    for pair in pairs:
        rainy, reference = (pixels_to_float(image) for image in pair)
        probability = None
        if isinstance(network, Jorder):
            derained = derain(network, pair.rainy)
            pixels, probability = derained.background, derained.rain_probability
        elif isinstance(network, DeveilNetwork):
            pixels = float_to_pixels(deveil(network, rainy).background, torch.uint8)
        else:
            pixels = float_to_pixels(restore(network, rainy), torch.uint8)
        both = rainy, pixels_to_float(pixels)
        scores = [float(metric(image, reference)) for image in both for metric in (psnr, ssim)]
        unchanged = float(torch.equal(pixels, pair.rainy))
        rows.append([*scores, unchanged, math.nan if probability is None else probability.item()])
    return torch.tensor(rows, dtype=torch.float64)


def to_markdown(scores: Iterable[Score]) -> str:
    """The scores as a Markdown table."""
    columns = ["rain", "images", "PSNR rainy", "PSNR restored", "gain", "worst 5 %", "SSIM rainy"]
    columns += ["SSIM restored", "unchanged", "AUC"]
    rows = []
    for s in scores:
        last = [f"{100 * s.unchanged:.1f} %", "-" if s.auc is None else f"{s.auc:.4f}"]
        if s.rain in (DRY, DRY_SMALL):  # the input is the reference
            worst = f"{s.input_psnr + s.worst_gain:.2f}"
            values = ["-", f"{s.psnr:.2f}", "-", worst, "-", f"{s.ssim:.4f}"]
        else:
            values = [
                f"{s.input_psnr:.2f}",
                f"{s.psnr:.2f}",
                f"{s.psnr - s.input_psnr:+.2f}",
                f"{s.worst_gain:+.2f}",
                f"{s.input_ssim:.4f}",
                f"{s.ssim:.4f}",
            ]
        rows.append([s.rain, str(s.images), *values, *last])
    return markdown_table(columns, rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that `score` and `training.export` share."""
    parser.add_argument(
        "--pairs", help="folder with rain/ and norain/ images of equal names, for one more row"
    )
    parser.add_argument(
        "--rains",
        nargs="+",
        choices=list_rains(),
        metavar="RAIN",
        help=f"rows to score; default: all; out of {', '.join(list_rains())}",
    )


@command
def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m training score", description=__doc__)
    parser.add_argument("photos", help="folder of clean photographs")
    parser.add_argument("--model", default="jorder_e_lite", help="a derainer or deveil network")
    parser.add_argument(
        "--weights", nargs="+", default=[None], help="safetensors files; default: the shipped one"
    )
    add_arguments(parser)
    parser.add_argument("--photos-limit", type=int, help="only the first so many, for a quick look")
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED, help="of the rain")
    parser.add_argument(
        "--json", type=Path, help="file to append a line of JSON to for each checkpoint"
    )
    args = parser.parse_args(arguments)
    if args.json is not None:
        check_output(args.json.parent)
        args.json.parent.mkdir(parents=True, exist_ok=True)
    for weights in args.weights:
        network, started = load_network(args.model, weights), time.monotonic()
        scores = score(network, args.photos, args.rains, args.pairs, args.photos_limit, args.seed)
        print(f"{weights or args.model}\n\n{to_markdown(scores)}\n", flush=True)
        if args.json is not None:
            path = find_weights(args.model, weights)
            run = path.with_suffix(".json")  # what `KeepBestWeights` writes beside them
            iteration = json.loads(run.read_text()).get("iterations") if run.is_file() else None
            record = {
                "model": args.model,
                "weights": str(path),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "iteration": iteration,
                "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - started, 1),
                "seed": args.seed,
                "rows": [asdict(row) for row in scores],
            }
            with args.json.open("a") as file:
                file.write(json.dumps(record) + "\n")
