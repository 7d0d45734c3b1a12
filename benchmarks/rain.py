"""Speed of rain synthesis, images per second on one core: `python -m benchmarks.rain`.

The goal is 10 for `light` and `heavy` at 481x321. Processor time is measured, which other work on
the machine affects little.
"""

from __future__ import annotations

import statistics
import time

import torch

from jorder_preproc.rain import PRESETS, synthesize_rain

SIZES = {(321, 481): 15, (1080, 1920): 5}  # height, width: images


def main() -> None:
    """Print rates per preset and size: of the mean, the median and the slowest image."""
    torch.set_num_threads(1)
    print(f"{'preset':14}{'size':>11}{'images':>8}{'mean':>8}{'median':>8}{'slowest':>9}")
    for (height, width), images in SIZES.items():
        background = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
        for preset in PRESETS:
            synthesize_rain(background, preset)
            seconds = []
            for seed in range(images):
                start = time.process_time()
                synthesize_rain(background, preset, seed, image_id="benchmark")
                seconds.append(time.process_time() - start)
            middle = (statistics.mean(seconds), statistics.median(seconds), max(seconds))
            rates = "".join(f"{1 / s:>{w}.1f}" for s, w in zip(middle, (8, 8, 9), strict=True))
            print(f"{preset:14}{f'{width}x{height}':>11}{images:8}{rates}", flush=True)


if __name__ == "__main__":
    main()
