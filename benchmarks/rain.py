"""How fast rain is drawn: `python benchmarks/rain.py`, one core, pictures per second.

The goal is 10 for `heavy` at 481x321.
"""

from __future__ import annotations

import statistics
import time

import torch

from jorder_preproc.rain import PRESETS, synthesize_rain

REPEATS = 15


def main() -> None:
    """Print median and slowest rate per preset."""
    torch.set_num_threads(1)
    background = torch.rand(3, 321, 481, generator=torch.Generator().manual_seed(0))
    print(f"{'preset':14}{'images/s':>10}{'slowest':>10}   (481x321, {REPEATS} pictures, 1 core)")
    for preset in PRESETS:
        synthesize_rain(background, preset)
        seconds = []
        for seed in range(REPEATS):
            start = time.perf_counter()
            synthesize_rain(background, preset, seed, image_id="benchmark")
            seconds.append(time.perf_counter() - start)
        print(f"{preset:14}{1 / statistics.median(seconds):10.1f}{1 / max(seconds):10.1f}")


if __name__ == "__main__":
    main()
