"""A classifier that anyone can build, for commands run in other processes."""

import torch
from torch import nn

SIZE = 40


def classifier(num_classes: int = 12) -> nn.Module:
    """Random, but the same everywhere; sensitive to edges, so rain changes what it says."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(144, num_classes),
        )
    network.pretrained_cfg = {  # type: ignore[assignment]
        "input_size": (3, SIZE, SIZE),
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.25, 0.3),
    }
    return network
