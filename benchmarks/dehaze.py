"""Quality and speed of deveiling, beside classical dehazers (like Fig. 13).

    pip install --editable '.[benchmark]'
    python -m benchmarks.dehaze PHOTOS

The dehazers are other packages, with their own defaults: the dark channel prior (He et al. 2009)
of `adrishyam` and the boundary constraint (Meng et al. 2013) of `image-dehazer`. They are meant for
haze, which does not darken the scene as rain does. `best gain and offset` is fitted to the target
of each image, an upper bound of what a change of brightness and contrast can give; `deveil, then
that` fits them after deveiling. On clear photographs `tint` is the largest relative shift of a
channel's mean against that of all three.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.datasets.photos import find_photographs
from evaluation.restoration.scores import add_rain, score
from jorder_preproc import deveil, load_deveil_model
from jorder_preproc.errors import UserError
from jorder_preproc.rain import RainPreset, get_preset
from training.command_line import command

INPUT, FITTED = "input", "best gain and offset"
BOTH = "deveil, then that"

Pixels = np.ndarray
Method = Callable[[Pixels], Pixels]
"""From uint8 RGB (H, W, 3) to the same."""


def veils() -> dict[str, RainPreset | None]:
    """Kinds of accumulation; None is a clear view."""
    preset = get_preset("accumulation")
    accumulation = preset.accumulation
    assert accumulation is not None

    def veil(**changes: Any) -> RainPreset:
        return replace(preset, accumulation=replace(accumulation, **changes))

    return {
        "accumulation": preset,
        "the same everywhere": veil(depth_probability=0.0),
        "with depth": veil(depth_probability=1.0),
        "with depth, thick: alpha down to 0.5 to 0.7": veil(
            depth_probability=1.0, transmission=(0.5, 0.7)
        ),
        "with depth, thin: alpha down to 0.7 to 1": veil(
            depth_probability=1.0, transmission=(0.7, 1.0)
        ),
        "darkened, no veil": veil(transmission=(1.0, 1.0)),
        "clear": None,
    }


def require(package: str) -> Any:
    """A package of the extra `benchmark`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"{error}; the dehazers to compare with come with pip install --editable '.[benchmark]'"
        ) from error


def dark_channel() -> Method:
    """The steps of `adrishyam.dehaze_image`, without its files and figures."""
    steps = require("adrishyam.dehaze")

    def run(pixels: Pixels) -> Pixels:
        image = pixels.astype(np.float32) / 255
        channel = steps.get_dark_channel(image)
        light = steps.estimate_atmospheric_light(image, channel)
        transmission = steps.estimate_transmission(image, light, channel)
        transmission = steps.guided_filter_simple(image[:, :, 0], transmission)
        return to_pixels(steps.dehaze(image, transmission, light))

    return run


def boundary_constraint() -> Method:
    """`image_dehazer.remove_haze`."""
    package = require("image_dehazer")
    if not hasattr(np, "alltrue"):  # NumPy 2 dropped it, and image-dehazer 0.0.9 calls it
        np.alltrue = np.all  # type: ignore[attr-defined]

    def run(pixels: Pixels) -> Pixels:
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        return package.remove_haze(bgr, showHazeTransmissionMap=False)[0][..., ::-1]

    return run


def fit_gain_and_offset(pixels: Pixels, target: Pixels) -> Pixels:
    """The linear map of pixel values closest to the target, one for all channels."""
    gain, offset = np.polyfit(pixels.ravel() / 255, target.ravel() / 255, 1)
    return to_pixels(gain * (pixels / 255) + offset)


def tint(pixels: Pixels, target: Pixels) -> float:
    """The largest relative shift of a channel's mean against that of all channels."""
    ratios = pixels.mean((0, 1)) / target.mean((0, 1)).clip(1e-6)
    return float(np.abs(ratios / ratios.mean() - 1).max())


def to_tensor(pixels: Pixels) -> Tensor:
    """Float (3, H, W), in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1) / 255


def to_pixels(image: Tensor | Pixels) -> Pixels:
    """uint8 (H, W, 3) of a tensor (3, H, W) or an array (H, W, 3)."""
    values = image.permute(1, 2, 0).numpy() if isinstance(image, Tensor) else image
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


@command
def main(arguments: list[str]) -> None:
    """Print a table for each kind of veil."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dehaze", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("photos", type=Path, help="folder of clean photographs")
    parser.add_argument("--limit", type=int, help="only so many, the first ones")
    parser.add_argument("--seed", type=int, default=1, help="of the veils (default: 1)")
    parser.add_argument("--deveil-weights", help="safetensors file")
    args = parser.parse_args(arguments)
    network = load_deveil_model(args.deveil_weights)
    methods: dict[str, Method] = {
        "dark channel prior": dark_channel(),
        "boundary constraint": boundary_constraint(),
        "deveil": lambda pixels: to_pixels(deveil(network, to_tensor(pixels)).background),
    }
    photographs = list(find_photographs(args.photos, Path("unused")).items())[: args.limit]
    images = {name: to_pixels(load()) for name, load in photographs}

    print(f"{len(images)} photographs, {torch.get_num_threads()} threads, CPU")
    for title, preset in veils().items():
        scores: dict[str, list[tuple[float, float, float]]] = {}
        seconds: dict[str, list[float]] = {}
        for name, target in images.items():
            pixels = target
            if preset is not None:
                pixels = to_pixels(add_rain(name, to_tensor(target), preset, args.seed).rainy)
            # in turn on each photograph, so that other jobs slow all methods alike
            results = {INPUT: pixels, FITTED: fit_gain_and_offset(pixels, target)}
            for method, run in methods.items():
                start = time.perf_counter()
                results[method] = run(pixels)
                seconds.setdefault(method, []).append(time.perf_counter() - start)
            results[BOTH] = fit_gain_and_offset(results["deveil"], target)
            reference = to_tensor(target)
            for method, result in results.items():
                if preset is None and method in (INPUT, FITTED, BOTH):
                    continue  # the input is the target itself
                values = score(f"{method} of {name}", to_tensor(result), reference)
                scores.setdefault(method, []).append((*values, tint(result, target)))
        heads = f"{'PSNR, dB':>10}{'lowest':>10}{'SSIM':>10}{'seconds':>10}"
        print(f"\n{title}\n{'':22}{heads}{'' if preset else '   tint, %, highest'}")
        for method, rows in scores.items():
            (decibels, similarity, moved), lowest = np.mean(rows, 0), np.min(rows, 0)[0]
            median = f"{statistics.median(seconds[method]):.3f}" if method in seconds else ""
            line = f"{method:22}{decibels:10.2f}{lowest:10.2f}{similarity:10.4f}{median:>10}"
            if preset is None:
                line += f"{100 * moved:10.2f}{100 * np.max(rows, 0)[2]:9.2f}"
            print(line)


if __name__ == "__main__":
    sys.exit(main())
