"""The contextualized dilated network: rain features F from an image (Sec. 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from jorder_preproc.models.variants import ContextVariant, PathDilations, Widening

_RELEASE_SIDE_PATH_WEIGHT = 0.1


def conv(in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
    """Convolution that keeps height and width."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)


class _DilatedPath(nn.ModuleList):
    """Two dilated convolutions (Sec. 4.2)."""

    def __init__(self, channels: int, path: PathDilations):
        super().__init__(conv(channels, channels, dilation=d) for d in path)

    def forward(self, features: Tensor) -> Tensor:
        first, second = self
        result: Tensor = second(relu(first(features)))
        return result


class _PooledPath(nn.ModuleList):
    """Two convolutions between max-pooling and bilinear up-sampling (JPS of Table 9)."""

    def __init__(self, channels: int, path: PathDilations):
        super().__init__(conv(channels, channels) for _ in path)
        self.factor, _ = path

    def forward(self, features: Tensor) -> Tensor:
        first, second = self
        height, width = features.shape[-2:]
        # the last cell may be smaller than the others
        cells = max_pool2d(features, self.factor, ceil_mode=True)
        cells = second(relu(first(cells)))
        whole = interpolate(cells, scale_factor=float(self.factor), mode="bilinear")
        return whole[..., :height, :width]


class _StridedPath(nn.ModuleList):
    """A strided convolution and a transposed one (JST of Table 9).

    The paper does not state the kernel sizes. These reach as far as the dilated convolutions,
    so that the comparison is at equal context.
    """

    def __init__(self, channels: int, path: PathDilations):
        factor, _ = path
        kernel = 2 * factor + 1
        down = nn.Conv2d(channels, channels, kernel, factor, padding=factor)
        up = nn.ConvTranspose2d(channels, channels, kernel, factor, factor, factor - 1)
        super().__init__([down, up])

    def forward(self, features: Tensor) -> Tensor:
        first, second = self
        height, width = features.shape[-2:]
        whole: Tensor = second(relu(first(features)))
        return whole[..., :height, :width]


_PATHS: dict[Widening, type[_DilatedPath | _PooledPath | _StridedPath]] = {
    "dilate": _DilatedPath,
    "pool": _PooledPath,
    "stride": _StridedPath,
}


class ContextBlock(nn.Module):
    """One recurrence of the context network: paths of two convolutions each.

    Args:
        channels: C.
        paths: dilations of the two convolutions of each path.
        relu_after_sum: ReLU of the sum of the paths (the paper); otherwise the sum of their
            ReLUs, all but the first with weight 0.1 (the release).
        widening: see `ContextVariant`.
    """

    def __init__(
        self,
        channels: int,
        paths: Sequence[PathDilations],
        relu_after_sum: bool,
        widening: Widening = "dilate",
    ):
        super().__init__()
        self.relu_after_sum = relu_after_sum
        self.paths = nn.ModuleList(_PATHS[widening](channels, path) for path in paths)

    def forward(self, features: Tensor, active_paths: int | None = None) -> Tensor:
        """Features of the next recurrence, (N, C, H, W) as given.

        `active_paths` keeps only the first paths: the sub-networks of Eq. 7.
        """
        outputs = [path(features) for path in list(self.paths)[:active_paths]]
        if self.relu_after_sum:
            return features + relu(sum(outputs[1:], outputs[0]))
        features = features + relu(outputs[0])
        for output in outputs[1:]:
            features = features + _RELEASE_SIDE_PATH_WEIGHT * relu(output)
        return features


class ContextNetwork(nn.Module):
    """K context blocks, each refining the features of the one before (Fig. 3)."""

    def __init__(self, variant: ContextVariant):
        super().__init__()
        relu_after_sum, paths = variant.block == "paper", variant.paths
        self.blocks = nn.ModuleList()
        for k in range(variant.blocks):
            own = paths if variant.context == "parallel" else [paths[k % len(paths)]]
            self.blocks.append(
                ContextBlock(variant.channels, own, relu_after_sum, variant.widening)
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
            previous: output of this method in the previous stage, added block by block, so
                that this stage learns the residual (Eq. 8).
            active_paths: see `ContextBlock.forward`.
        """
        after_blocks = []
        for k, block in enumerate(self.blocks):
            features = block(features, active_paths)
            if previous is not None:
                features = features + previous[k]
            after_blocks.append(features)
        return after_blocks
