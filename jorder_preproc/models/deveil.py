"""The network that sees the veil of rain accumulation (Sec. 5.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, pixel_unshuffle, relu

from jorder_preproc.models.context import ContextNetwork, conv
from jorder_preproc.models.variants import get_deveil_variant

_WINDOWS = (1, 3, 9)  # cells
_CUES = 5 * len(_WINDOWS) + 7
_FLOOR = 0.02
_UNSEEN = 1e-4  # variance, of less than a level of 8 bits
_TERMS = 2  # of the logarithm of the transmission: constant and linear


class DeveilNetwork(nn.Module):
    """Estimate the transmission alpha from a small image of the whole (Sec. 5.2).

    The veil is smooth, and how thick it is shows in the image as a whole: in its darkest
    and brightest parts. So the context network looks at an overview, whatever the size of
    the image, in coarse cells. Of every cell it gets some averages, and cues from all of
    its pixels: what is black is small in most images, and gone from an average.

    The darkening of the overcast sky is not smooth: it falls on bright pixels less than on
    dark ones, and alpha, which undoes both, follows the pixel. The network therefore gives
    the logarithm of alpha as a line over the pixel's value,

        log alpha = a + b O / A,

    with maps a and b that all channels share, so that a veil of no colour of its own leaves
    none. An untrained network gives alpha = 1.

    Args:
        name: a row of the table of deveil networks; see `list_deveil_models`.

    Attributes:
        name: as given.
        variant: the row.

    Raises:
        ValueError: no such variant.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.variant = get_deveil_variant(name)
        channels = self.variant.channels
        self.encoder = conv(3 * self.variant.unshuffle**2 + _CUES, channels)
        self.context = ContextNetwork(self.variant)
        self.whole = nn.Sequential(
            nn.Linear(3 * channels, channels), nn.ReLU(), nn.Linear(channels, channels)
        )
        last = conv(channels, _TERMS)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.get_parameter("bias"))
        self.head = nn.Sequential(conv(channels + _CUES, channels), nn.ReLU(), last)

    def overview_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width, px, of the overview of an image of that height and width."""
        cell = self.variant.cell_px
        scale = min(1.0, self.variant.overview_px / max(shape))
        height, width = (max(round(side * scale / cell), 1) * cell for side in shape)
        return height, width

    def forward(self, overview: Tensor) -> Tensor:
        """Coefficients of log alpha.

        Args:
            overview: O / A of the whole image, float RGB (N, 3, h, w), with height and
                width of `overview_shape`.

        Returns:
            a and b, float (N, 2, 1, h', w'), to be interpolated over the image.

        Raises:
            ValueError: wrong shape.
        """
        cell, fold = self.variant.cell_px, self.variant.unshuffle
        shape = tuple(overview.shape)
        if overview.ndim != 4 or shape[1] != 3 or shape[2] % cell or shape[3] % cell:
            raise ValueError(
                f"overview must be (N, 3, H, W) with multiples of {cell}, got {shape}; "
                "use jorder_preproc.deveil, which takes any image"
            )
        if shape[0] == 0:  # which PyTorch does not fold
            return overview.new_zeros(0, _TERMS, 1, shape[2] // cell, shape[3] // cell)
        cues = haze_cues(overview, cell)
        averages = pixel_unshuffle(avg_pool2d(overview, cell // fold), fold)
        features = relu(self.encoder(torch.cat([averages, cues], 1)))
        features = self.context(features)[-1]
        pooled = [features.mean((2, 3)), features.amax((2, 3)), -features.amin((2, 3))]
        features = features + self.whole(torch.cat(pooled, 1))[..., None, None]
        features = torch.cat([relu(features), cues], 1)
        coefficients: Tensor = self.head(features)
        return coefficients[:, :, None]


def haze_cues(overview: Tensor, cell: int) -> Tensor:
    """What tells a veil from a bright surface, over windows of several sizes.

    Of each window the dark channel, whose least value a veil lifts; the logarithm of alpha
    that it stands for, were the darkest thing there black; the bright channel; the mean
    saturation, which a veil washes out; and the logarithm of the contrast, the standard
    deviation of the channels' mean. Then, of each cell and channel, the mean and the largest
    logarithm of 1 - O, to which a veil adds that of alpha everywhere. Last comes the height
    in the image: what is high up is far off, mostly.

    Args:
        overview: float RGB (N, 3, h, w).
        cell: height and width of a cell, px.

    Returns:
        float (N, 22, h / cell, w / cell): five cues for each window of 1, 3 and 9 cells, six
        for the cell, and the height, from -1 at the top to 1.
    """
    least, most = overview.amin(1, keepdim=True), overview.amax(1, keepdim=True)
    grey = overview.mean(1, keepdim=True)
    dark, bright = -max_pool2d(-least, cell), max_pool2d(most, cell)
    means = avg_pool2d(torch.cat([most - least, grey, grey.square()], 1), cell)
    cues = []
    for window in _WINDOWS:
        margin = window // 2
        darkest = -max_pool2d(-dark, window, 1, margin)
        local = avg_pool2d(means, window, 1, margin, count_include_pad=False)
        saturation, mean, square = local.split(1, 1)
        variance = (square - mean.square()).clamp(min=0)
        cues += [
            darkest,
            -_log_distance(darkest),
            max_pool2d(bright, window, 1, margin),
            saturation,
            (variance + _UNSEEN).log() / 2,
        ]
    distance = _log_distance(overview)
    height = torch.linspace(-1, 1, dark.shape[2], dtype=dark.dtype, device=dark.device)
    return torch.cat(
        [
            *cues,
            avg_pool2d(distance, cell),
            max_pool2d(distance, cell),
            height[:, None].expand_as(dark),
        ],
        1,
    )


def _log_distance(values: Tensor) -> Tensor:
    """Logarithm of 1 - O, kept finite: up to the light."""
    return (1 + _FLOOR - values).clamp(min=_FLOOR).log()


def build_deveil_model(name: str) -> DeveilNetwork:
    """An untrained deveil network.

    Raises:
        ValueError: unknown name.
    """
    return DeveilNetwork(name)
