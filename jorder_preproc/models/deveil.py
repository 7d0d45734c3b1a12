"""The network that estimates the veil of rain accumulation (Sec. 5.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, pixel_unshuffle, relu

from jorder_preproc.models.context import ContextNetwork, conv
from jorder_preproc.models.variants import get_deveil_variant

_WINDOWS = (1, 3, 9)  # cells
_CUES = 5 * len(_WINDOWS) + 7
_FLOOR = 0.02
_UNSEEN = 1e-4  # variance below a step of 8 bits
_TERMS = 2  # of log alpha: constant and linear


class DeveilNetwork(nn.Module):
    """Estimate the transmission alpha from a downscaled image, the overview (Sec. 5.2).

    The veil is smooth, and the darkest and brightest parts of the whole image show how thick
    it is. So the context network sees an overview of limited size in coarse cells. Its input
    is a few averages of every cell, and cues from all pixels of the cell, since black parts
    are small in most images and vanish in averages.

    The darkening under an overcast sky is not smooth: it affects dark pixels more than bright
    ones, and alpha, which undoes the veil and the darkening, depends on the pixel. The network
    therefore predicts log alpha as a linear function of the pixel's value,

        log alpha = a + b O / A,

    with maps a and b shared by the channels, so that deveiling adds no colour cast. An
    untrained network predicts alpha = 1.

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
        """Predict the coefficients of log alpha.

        Args:
            overview: O / A of the whole image, float RGB (N, 3, h, w), with height and
                width of `overview_shape`.

        Returns:
            a and b, float (N, 2, 1, h', w'), for interpolation over the image.

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
    """Cues that tell a veil from a bright surface, over windows of several sizes.

    For each window: the dark channel, whose minimum a veil raises; log alpha if the darkest
    pixel were black; the bright channel; the mean saturation, which a veil lowers; and the
    logarithm of the contrast, the standard deviation of the grey values. For each cell and
    channel: the mean and the maximum of log(1 - O), to which a veil adds log alpha. Last, the
    vertical position, since the upper parts of images are usually farther away.

    Args:
        overview: float RGB (N, 3, h, w).
        cell: height and width of a cell, px.

    Returns:
        float (N, 22, h / cell, w / cell): five cues for each window of 1, 3 and 9 cells, six
        for the cell, and the vertical position, from -1 at the top to 1.
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
        saturation, mean, square = local.chunk(3, 1)
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
    """log(1 - O), bounded from below."""
    return (1 + _FLOOR - values).clamp(min=_FLOOR).log()
