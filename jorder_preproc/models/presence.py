"""Whether it rains in an image at all, from the deepest features of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SMALLEST_SQUARE = 1e-6  # keeps the gradient of the root finite


class RainPresence(nn.Module):
    """Estimate the probability that it rains in a whole image.

    A logistic regression on the mean and the root mean square of each of the features that an
    encoder-decoder computes at its coarsest resolution, over the whole image. The network has
    told streaks from other lines there; from shallow features light rain is hard to tell.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.logit = nn.Linear(2 * channels, 1)

    @staticmethod
    def sums(features: Tensor) -> Tensor:
        """Sums over the cells of a window, and of their squares: those of windows add up.

        Args:
            features: float (N, C, h, w).

        Returns:
            float64 (N, 2 C), on the device of the features, or on the CPU for Apple's GPUs.
        """
        # MPS has no float64
        exact = (features.cpu() if features.device.type == "mps" else features).double()
        return torch.cat([exact.sum((2, 3)), exact.square().sum((2, 3))], 1)

    def forward(self, sums: Tensor, cells: int) -> Tensor:
        """Logit of the probability of rain, (N,), from the `sums` over all cells of the image."""
        mean, square = (sums / cells).to(self.logit.weight).chunk(2, 1)
        logit: Tensor = self.logit(torch.cat([mean, (square + _SMALLEST_SQUARE).sqrt()], 1))
        return logit[:, 0]
