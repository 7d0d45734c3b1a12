"""The contextualized dilated network: rain features F from an image (Sec. 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import relu

from jorder_preproc.models.variants import ContextVariant, PathDilations

_RELEASE_SIDE_PATH_WEIGHT = 0.1


def conv(in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
    """Convolution that keeps height and width."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)


class ContextBlock(nn.Module):
    """One recurrence of the context network: paths of two dilated convolutions each.

    Args:
        channels: C.
        paths: dilations of the two convolutions of each path.
        relu_after_sum: add the paths, then ReLU (the paper); otherwise ReLU each
            path, then add, all but the first with weight 0.1 (the release).
    """

    def __init__(self, channels: int, paths: Sequence[PathDilations], relu_after_sum: bool):
        super().__init__()
        self.relu_after_sum = relu_after_sum
        self.paths = nn.ModuleList(
            nn.ModuleList([conv(channels, channels, dilation=d) for d in path]) for path in paths
        )

    def forward(self, features: Tensor, active_paths: int | None = None) -> Tensor:
        """Features of the next recurrence, (N, C, H, W) as given.

        `active_paths` keeps only the first paths: the sub-networks of Eq. 7.
        """
        paths = cast("list[nn.ModuleList]", list(self.paths)[:active_paths])
        outputs = [second(relu(first(features))) for first, second in paths]
        if self.relu_after_sum:
            return features + relu(sum(outputs[1:], outputs[0]))
        features = features + relu(outputs[0])
        for output in outputs[1:]:
            features = features + _RELEASE_SIDE_PATH_WEIGHT * relu(output)
        return features


class ContextNetwork(nn.Module):
    """K context blocks, each refining the features of the one before (Fig. 3).

    Args:
        variant: which blocks, how many, and how they share out the paths.
    """

    def __init__(self, variant: ContextVariant):
        super().__init__()
        relu_after_sum = variant.block == "paper"

        def paths_of(k: int) -> Sequence[PathDilations]:
            if variant.context == "parallel":
                return variant.paths
            return [variant.paths[k % len(variant.paths)]]

        self.blocks = nn.ModuleList(
            ContextBlock(variant.channels, paths_of(k), relu_after_sum)
            for k in range(variant.blocks)
        )

    def forward(
        self,
        features: Tensor,
        previous: Sequence[Tensor] | None = None,
        active_paths: int | None = None,
    ) -> list[Tensor]:
        """Features after each block; the last is F.

        Args:
            features: first convolution of the image, (N, C, H, W).
            previous: what this method returned in the stage before; added block
                by block, so that this stage learns the residual (Eq. 8).
            active_paths: see `ContextBlock.forward`.
        """
        after_blocks = []
        for k, block in enumerate(self.blocks):
            features = block(features, active_paths)
            if previous is not None:
                features = features + previous[k]
            after_blocks.append(features)
        return after_blocks
