"""The two networks that the paper trains for comparison: SRCNN and DetailNet (Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, mse_loss, pad

_GUIDED_RADIUS_PX = 15
_GUIDED_EPSILON = 1.0 / 255**2 * 100  # regularisation for images in [0, 1]


class SRCNN(nn.Sequential):
    """Three convolutions of 9x9, 1x1 and 5x5 with 64 and 32 channels (Dong et al., PAMI 2016).

    The super-resolution network, here from a rainy RGB image to the background, as the paper uses
    it as a baseline.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 64, 9, padding=4),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 32, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 3, 5, padding=2),
        )


class DetailNet(nn.Module):
    """Deep detail network (Fu et al., CVPR 2017): a residual network on the detail layer.

    The detail layer is the image minus its guided filter. 26 convolutions of 3x3 with 16 channels
    and batch normalisation, a shortcut over every two, predict what is added to the rainy image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = _normalised(3, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(_normalised(16, 16), _normalised(16, 16)) for _ in range(12)
        )
        self.last = nn.Sequential(nn.Conv2d(16, 3, 3, padding=1), nn.BatchNorm2d(3))

    def forward(self, rainy: Tensor) -> Tensor:
        """The background of rainy (N, 3, H, W), in [0, 1]; not clamped."""
        features = self.first(rainy - guided_filter(rainy))
        for block in self.blocks:
            features = features + block(features)
        residual: Tensor = self.last(features)
        return rainy + residual


def _normalised(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def guided_filter(
    image: Tensor, radius_px: int = _GUIDED_RADIUS_PX, epsilon: float = _GUIDED_EPSILON
) -> Tensor:
    """Edge-preserving smoothing of every channel, guided by itself (He et al., PAMI 2013).

    Args:
        image: (N, C, H, W), at least `radius_px` + 1 px high and wide.
        radius_px: of the square windows.
        epsilon: variance below which a window is smoothed.
    """

    def mean(values: Tensor) -> Tensor:
        padded = pad(values, [radius_px] * 4, mode="reflect")
        return avg_pool2d(padded, 2 * radius_px + 1, stride=1)

    mean_of_image = mean(image)
    variance = mean(image * image) - mean_of_image**2
    slope = variance / (variance + epsilon)
    offset = mean_of_image * (1 - slope)
    return mean(slope) * image + mean(offset)


BASELINES: Mapping[str, Callable[[], nn.Module]] = {"SRCNN": SRCNN, "DetailNet": DetailNet}


@MODELS.register_module()
class BaselineTraining(BaseModel):
    """A baseline with its loss, the squared error of the background.

    Args:
        name: key of `BASELINES`.
    """

    def __init__(self, name: str):
        super().__init__()
        self.network = BASELINES[name]()

    def forward(self, mode: str = "loss", **batch: Any) -> dict[str, Tensor]:
        """`loss`, the only mode: dict of the loss; see MMEngine."""
        return {"loss": mse_loss(self.network(batch["rainy"]), batch["background"])}


def restore(network: nn.Module, rainy: Tensor) -> Tensor:
    """A baseline's background of one image (3, H, W), in [0, 1]."""
    with torch.no_grad():
        background: Tensor = network(rainy[None])[0]
    return background.clamp(0, 1)
