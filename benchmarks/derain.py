"""How fast the networks are: `python benchmarks/derain.py`, untrained weights, 481x321.

Ratios are to `jorder_e_practical`, the authors' light network, run in turn with the others.
"""

from __future__ import annotations

import statistics
import time

import torch

from jorder_preproc import build_model, derain, list_models

REPEATS = 5
REFERENCE = "jorder_e_practical"


def main() -> None:
    """Print median seconds per picture of each network, and how many times the reference."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image = torch.rand(3, 321, 481, generator=torch.Generator().manual_seed(0))
    networks = {
        name: build_model(name).eval().to(device, memory_format=torch.channels_last)
        for name in list_models()
    }
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for repeat in range(REPEATS + 1):
        for name, network in networks.items():
            start = time.perf_counter()
            derain(network, image)  # the result comes back to the CPU, so CUDA is waited for
            if repeat > 0:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'network':20}{'kMAC/px':>10}{'seconds':>10}{'slowest':>10}{'speed-up':>10}")
    for name, median in medians.items():
        kmacs = networks[name].variant.macs_per_pixel / 1000
        ratio = medians[REFERENCE] / median
        print(f"{name:20}{kmacs:10.1f}{median:10.3f}{max(seconds[name]):10.3f}{ratio:10.2f}")


if __name__ == "__main__":
    main()
