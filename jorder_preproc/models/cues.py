"""What kind of rain a whole image shows, from shallow features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, relu

from jorder_preproc.models.context import conv

_FOLD = 4
_SMALLEST_SQUARE = 1e-6  # keeps the gradient of the root finite


class ImageCues(nn.Module):
    """Describe the rain in a whole image by a few numbers, the cues.

    The features of a few convolutions, cheap beside the network's, are averaged over the whole
    image. Those of tiles are averaged together, so that the result does not depend on tiling.
    """

    cell_px = 16
    """Side of the image area of one cell of `features`, px."""

    reach = 28
    """Pixels to each side of a cell that its features depend on at most."""

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

    def forward(self, features: Tensor) -> Tensor:
        """Cues of whole images, float (N, cues), >= 0, from all of their `features`."""
        mean = features.mean((2, 3))
        square = features.square().mean((2, 3))
        return relu(self.summary(torch.cat([mean, (square + _SMALLEST_SQUARE).sqrt()], 1)))
