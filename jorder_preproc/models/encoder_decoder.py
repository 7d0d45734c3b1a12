"""An encoder-decoder as context network: gated depth-wise blocks at several resolutions.

It replaces the dilated paths of Sec. 4.2 at a fraction of their cost. The blocks are those of
NAFNet (Chen et al., ECCV 2022) with two changes: residuals start small by their initial
weights, without learned scales, which cost time; and channels are scaled by the cues of
`ImageCues` for the whole image, not by means over the input, with which a tile would differ
from the whole image. Both halves of a block need their normalisation: a gate squares its input,
and training diverged without one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pixel_shuffle

from jorder_preproc.models.strips import strips
from jorder_preproc.models.variants import ContextVariant

_FIRST_RESIDUAL_SCALE = 0.1  # blocks of an untrained network change little
_VALUES_AT_ONCE = 1 << 18  # 1 MiB in float32
_FEWEST_ROWS = 4  # at a time; each strip computes two more in part


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel, (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        last = features.permute(0, 2, 3, 1)
        normed = layer_norm(last, self.weight.shape, self.weight, self.bias)
        return normed.permute(0, 3, 1, 2)


class GatedBlock(nn.Module):
    """A depth-wise convolution and a channel mixer, each gated by half of its channels.

    Args:
        cues: number of cues that describe the whole image; 0 if there are none.
    """

    def __init__(self, channels: int, cues: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.project = nn.Conv2d(channels, channels, 1)
        self.mix_norm = ChannelNorm(channels)
        self.mix_in = nn.Conv2d(channels, 2 * channels, 1)
        self.mix_out = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            for last in (self.project, self.mix_out):
                last.weight.mul_(_FIRST_RESIDUAL_SCALE)
        self.from_cues = nn.Linear(cues, channels) if cues else None
        if self.from_cues is not None:
            nn.init.zeros_(self.from_cues.weight)
            nn.init.zeros_(self.from_cues.bias)

    def forward(self, features: Tensor, cues: Tensor | None = None) -> Tensor:
        """Features of the same shape (N, C, H, W); cues are (N, cues).

        Where features are computed in `strips`, the result takes the memory of the input.
        """
        scales = None
        if self.from_cues is not None:
            scales = (1 + self.from_cues(cues))[..., None, None]
        above: list[Tensor] = []
        for start, stop in strips(features, _VALUES_AT_ONCE, _FEWEST_ROWS):
            if start == 0 and stop == features.shape[2]:
                return self._compute(features, scales)
            # the depth-wise convolution sees one row to each side
            seen = features[:, :, start : stop + 1]
            if above:
                seen = torch.cat([*above, seen], 2)
            kept = slice(len(above), len(above) + stop - start)
            above = [features[:, :, stop - 1 : stop].clone()]
            features[:, :, start:stop] = self._compute(seen, scales, kept)
        return features

    def _compute(
        self, features: Tensor, scales: Tensor | None, kept: slice | None = None
    ) -> Tensor:
        """The block on some rows, of which those in `kept` are returned; None returns all."""
        gated = self.depthwise(self.expand(self.norm(features)))
        if kept is not None:
            features, gated = features[:, :, kept], gated[:, :, kept]
        gated = _gate(gated)
        if scales is not None:
            gated = gated * scales
        features = features + self.project(gated)
        mixed: Tensor = self.mix_out(_gate(self.mix_in(self.mix_norm(features))))
        return features + mixed


def _gate(features: Tensor) -> Tensor:
    values, gates = features.chunk(2, 1)
    return values * gates


class EncoderDecoder(nn.Module):
    """Gated blocks at coarser and coarser resolutions and back, with skip connections.

    Args:
        variant: `channels` at the finest resolution, twice as many at each coarser one;
            `blocks` at the coarsest, `outer_blocks` in encoder and decoder at each of the
            other `levels`.
        cues: see `GatedBlock`.
    """

    def __init__(self, variant: ContextVariant, cues: int):
        super().__init__()

        def blocks(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(GatedBlock(width, cues) for _ in range(count))

        *outer, coarsest = (variant.channels * 2**level for level in range(variant.levels + 1))
        self.encoders = nn.ModuleList(blocks(width, variant.outer_blocks) for width in outer)
        self.downs = nn.ModuleList(nn.Conv2d(width, 2 * width, 2, stride=2) for width in outer)
        self.coarsest = blocks(coarsest, variant.blocks)
        self.ups = nn.ModuleList(nn.Conv2d(2 * width, 4 * width, 1) for width in outer)
        self.decoders = nn.ModuleList(blocks(width, variant.outer_blocks) for width in outer)

    def forward(
        self,
        features: Tensor,
        previous: Sequence[Tensor] | None = None,
        cues: Tensor | None = None,
    ) -> list[Tensor]:
        """The features at the coarsest resolution, and F. The memory of `features` may be reused.

        Args:
            features: first convolution of the image, (N, C, H, W), H and W multiples of
                2 to the power of `levels`.
            previous: those of the previous stage, whose F is added (Eq. 8).
            cues: of the whole image, (N, cues).
        """
        skips = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            features = _run(blocks, features, cues)
            skips.append(features)
            features = down(features)
        features = coarsest = _run(self.coarsest, features, cues)
        for level in reversed(range(len(skips))):
            up = pixel_shuffle(self.ups[level](features), 2)
            features = _run(self.decoders[level], up.add_(skips[level]), cues)
        return [coarsest, features if previous is None else features + previous[-1]]


def _run(blocks: nn.Module, features: Tensor, cues: Tensor | None) -> Tensor:
    for block in blocks.children():
        features = block(features, cues)
    return features
