"""Does it rain at all, and how: a description of the whole image from shallow features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, relu

from jorder_preproc.models.context import conv

_FOLD = 4
_SMALLEST_SQUARE = 1e-6  # keeps the gradient of the root finite


class RainPresence(nn.Module):
    """Describe the rain of a whole image, and estimate how probable it is that it rains.

    Few convolutions, cheap beside the network's, whose features are averaged over the whole
    image. The averages do not depend on its size, and tiles can be averaged together: so
    the answer is one for the image however it is cut.

    Args:
        cues: length of the description.
    """

    cell_px = 16
    """Height and width, px, of the image that one cell of `features` stands for."""

    reach = 28
    """Pixels to each side of a cell that its features depend on, at most."""

    def __init__(self, cues: int):
        super().__init__()
        self.convs = nn.ModuleList(
            [
                conv(3 * _FOLD**2, 48),
                conv(48, 48),
                nn.Conv2d(48, 64, 3, stride=2, padding=1),
                conv(64, 64),
                nn.Conv2d(64, 96, 3, stride=2, padding=1),
            ]
        )
        self.summary = nn.Linear(2 * 96, cues)
        self.logit = nn.Linear(cues, 1)

    def features(self, rainy: Tensor) -> Tensor:
        """Local features.

        Args:
            rainy: O, float RGB (N, 3, H, W), in [0, 1]; H, W multiples of 4.

        Returns:
            float (N, 96, ceil(H / 16), ceil(W / 16)), >= 0.
        """
        features = pixel_unshuffle(rainy, _FOLD)
        for convolution in self.convs:
            features = relu(convolution(features))
        return features

    def cues(self, features: Tensor) -> Tensor:
        """Description of the whole image, float (N, cues), from all of its `features`."""
        mean = features.mean((2, 3))
        square = features.square().mean((2, 3))
        return relu(self.summary(torch.cat([mean, (square + _SMALLEST_SQUARE).sqrt()], 1)))

    def forward(self, cues: Tensor) -> Tensor:
        """Logit of the probability that it rains, (N,)."""
        return self.logit(cues)[:, 0]
