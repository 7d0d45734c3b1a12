"""`python -m training.score`: luminance PSNR and SSIM of a network on clean photographs.

Rain by preset is put on every photograph, rounded to 8 bits, removed, rounded again. What
a derainer removes is streaks, what a deveil network does is the veil.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jorder_preproc.derain import derain
from jorder_preproc.deveil import deveil
from jorder_preproc.metrics import psnr, ssim
from jorder_preproc.models import (
    DeveilNetwork,
    Jorder,
    list_deveil_models,
    load_deveil_model,
    load_model,
)
from training.data import RainyPhotos

PRESETS = ("clean", "light", "heavy", "rain800")
DEVEIL_PRESETS = ("clean", "accumulation")
VALIDATION_SEED = 1


@dataclass(frozen=True)
class Score:
    """Means over all photographs of one preset, against the clean photograph.

    Attributes:
        preset: kind of rain, `clean` for none.
        images: number of photographs.
        input_psnr, input_ssim: of the rainy picture; dB and [0, 1].
        psnr, ssim: of the restored one.
    """

    preset: str
    images: int
    input_psnr: float
    input_ssim: float
    psnr: float
    ssim: float


def load_network(name: str, weights: str | None) -> Jorder | DeveilNetwork:
    """A trained derainer or deveil network; see `load_model`, `load_deveil_model`."""
    if name in list_deveil_models():
        return load_deveil_model(weights or name)
    return load_model(name, weights)


def score(
    network: Jorder | DeveilNetwork,
    photos: str,
    presets: Sequence[str] | None = None,
    seed: int = VALIDATION_SEED,
) -> list[Score]:
    """Score a network on a folder of clean photographs, full frame, one row per preset.

    Without presets: `PRESETS` for a derainer, `DEVEIL_PRESETS` for a deveil network.
    """

    def restore(rainy: Tensor) -> Tensor:
        if isinstance(network, DeveilNetwork):
            return deveil(network, rainy).background
        return derain(network, rainy).background

    default = DEVEIL_PRESETS if isinstance(network, DeveilNetwork) else PRESETS
    scores = []
    for preset in presets or default:
        rows = []
        for item in RainyPhotos(photos, [preset], seed):
            rainy, background = item["rainy"], item["background"]
            restored = (restore(rainy) * 255).round() / 255
            rows.append(
                [
                    psnr(rainy, background),
                    ssim(rainy, background),
                    psnr(restored, background),
                    ssim(restored, background),
                ]
            )
        means = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
        scores.append(Score(preset, len(rows), *means))
    return scores


def markdown_table(scores: Iterable[Score]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| rain | photos | PSNR rainy | PSNR restored | gain | SSIM rainy | SSIM restored |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for s in scores:
        if s.preset == "clean":  # the input is the reference: only the harm has a value
            values = ["-", f"{s.psnr:.2f}", "-", "-", f"{s.ssim:.4f}"]
        else:
            gain = f"{s.psnr - s.input_psnr:+.2f}"
            values = [
                f"{s.input_psnr:.2f}",
                f"{s.psnr:.2f}",
                gain,
                f"{s.input_ssim:.4f}",
                f"{s.ssim:.4f}",
            ]
        lines.append(" | ".join([f"| {s.preset}", str(s.images), *values]) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.score", description=__doc__)
    parser.add_argument("photos", help="folder of clean photographs")
    parser.add_argument("--model", default="jorder_e_lite", help="a derainer or deveil network")
    parser.add_argument("--weights", help="safetensors file; default: the shipped one")
    parser.add_argument("--presets", nargs="+", help="default: what the network is trained for")
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED)
    args = parser.parse_args(arguments)
    try:
        network = load_network(args.model, args.weights)
        print(markdown_table(score(network, args.photos, args.presets, args.seed)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
