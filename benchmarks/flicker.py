"""Flicker of a derained clip: `python -m benchmarks.flicker`.

A photograph that scikit-image brings along, with the noise of a camera, and a second one that
moves over it. Every frame has rain of its own, as falling rain has. Printed is the mean absolute
difference, in grey levels, between consecutive frames, over the pixels that nothing moves across:
without rain, with rain, and derained frame by frame. PSNR, dB, is over the same pixels.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise

import numpy as np
import skimage.data
import torch
from torch import Tensor

from jorder_preproc import derain, load_model, synthesize_rain
from jorder_preproc.errors import UserError
from training.command_line import command

HEIGHT, WIDTH, SIDE = 240, 360, 60
NOISE = 1.0
"""Standard deviation of the noise, grey levels."""


def draw_clip(count: int) -> tuple[Tensor, Tensor]:
    """A clip without rain, float (count, 3, H, W), and the mask (H, W) of its static pixels."""
    rng = np.random.default_rng(0)
    still = skimage.data.chelsea()[30 : 30 + HEIGHT, 60 : 60 + WIDTH]
    mover = skimage.data.astronaut()[:SIDE, 200 : 200 + SIDE]
    static = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    frames = []
    for number in range(count):
        frame = still.astype(float)
        left = 4 * number % (WIDTH - SIDE)
        frame[90 : 90 + SIDE, left : left + SIDE] = mover
        static[90 : 90 + SIDE, left : left + SIDE] = False
        frame += rng.normal(0, NOISE, frame.shape)
        frames.append(torch.from_numpy(frame.round().clip(0, 255)).permute(2, 0, 1).float() / 255)
    return torch.stack(frames), static


def flicker(frames: Tensor, static: Tensor) -> float:
    """Mean absolute difference of static pixels between consecutive frames, grey levels."""
    changes = [(after - before)[:, static].abs().mean() for before, after in pairwise(frames)]
    return 255 * float(torch.stack(changes).mean())


@command
def main(arguments: list[str]) -> None:
    """Print a row for each kind of rain."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flicker", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--presets", nargs="+", default=["light", "heavy"])
    args = parser.parse_args(arguments)
    if args.frames < 2:
        raise UserError(f"--frames must be at least 2, got {args.frames}")
    clean, static = draw_clip(args.frames)
    network = load_model()
    print("| rain | without rain | rainy | derained | PSNR rainy | derained |")
    print("|---|---|---|---|---|---|")
    for preset in args.presets:
        samples = [synthesize_rain(frame, preset, 0, f"frame {k}") for k, frame in enumerate(clean)]
        rainy = torch.stack([sample.rainy for sample in samples])
        derained = torch.cat([derain(network, f[None], dry="derain").background for f in rainy])
        levels = [flicker(frames, static) for frames in (clean, rainy, derained)]
        errors = [float((x - clean)[:, :, static].square().mean()) for x in (rainy, derained)]
        decibels = (-10 * np.log10(error) for error in errors)
        row = [f"{value:.2f}" for value in (*levels, *decibels)]
        print("| " + " | ".join([f"`{preset}`", *row]) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
