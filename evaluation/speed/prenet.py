"""A network of PReNet's published structure, to compare times with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from jorder_preproc.models.context import conv


class PReNet(nn.Module):
    """Progressive recurrent network (Ren et al., CVPR 2019), with random weights.

    Six iterations of the same layers: a convolution of the rainy image and the estimate so
    far, a convolutional LSTM, five residual blocks, and a convolution that gives the estimate.
    """

    iterations = 6
    channels = 32

    def __init__(self) -> None:
        super().__init__()
        channels = self.channels
        self.encoder = conv(6, channels)
        self.gates = conv(2 * channels, 4 * channels)  # in, forget, out, candidate
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(channels, channels), nn.ReLU(), conv(channels, channels), nn.ReLU())
            for _ in range(5)
        )
        self.decoder = conv(channels, 3)

    def forward(self, rainy: Tensor) -> Tensor:
        """The background, float (N, 3, H, W), from a rainy image like it in [0, 1]."""
        estimate = rainy
        hidden = cell = rainy.new_zeros(len(rainy), self.channels, *rainy.shape[2:])
        for _ in range(self.iterations):
            features = relu(self.encoder(torch.cat([rainy, estimate], 1)))
            gates = self.gates(torch.cat([features, hidden], 1))
            in_gate, forget, out, candidate = gates.chunk(4, 1)
            cell = forget.sigmoid() * cell + in_gate.sigmoid() * candidate.tanh()
            hidden = features = out.sigmoid() * cell.tanh()
            for block in self.blocks:
                features = relu(block(features) + features)
            estimate = self.decoder(features)
        return estimate
