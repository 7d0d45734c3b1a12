"""PSNR and SSIM on luminance, as MATLAB's rgb2ycbcr defines it (Sec. 6).

Images are float RGB (..., 3, H, W), in [0, 1]; another shape raises ValueError.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

_Y_WEIGHTS = (65.481, 128.553, 24.966)
_Y_OFFSET = 16.0
_PEAK = 255.0

MAX_PSNR_DB = 100.0
"""PSNR of equal images, and the largest of any, so that means are finite."""


def luminance(image: Tensor) -> Tensor:
    """BT.601 luma of studio range, 16-235: float64 (..., H, W), not rounded."""
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"image must be (..., 3, H, W), got {tuple(image.shape)}")
    red, green, blue = image.double().unbind(-3)
    return _Y_OFFSET + _Y_WEIGHTS[0] * red + _Y_WEIGHTS[1] * green + _Y_WEIGHTS[2] * blue


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio on luminance, in dB, peak 255.

    Returns:
        float64 (...): one value per image, at most `MAX_PSNR_DB`.

    Raises:
        ValueError: shapes differ.
    """
    _check_same_shape(image, reference)
    error = (luminance(image) - luminance(reference)).square().mean((-2, -1))
    return (10 * torch.log10(_PEAK**2 / error)).clamp(max=MAX_PSNR_DB)


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity on luminance (Wang et al. 2004): 11x11 Gaussian, sigma 1.5.

    Windows that extend beyond the image are not counted.

    Returns:
        float64 (...): one value per image.

    Raises:
        ValueError: shapes differ, or are smaller than the window.
    """
    _check_same_shape(image, reference)
    if min(image.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs at least 11 x 11 pixels, got {tuple(image.shape[-2:])}")
    x, y = luminance(image), luminance(reference)
    batch = x.shape[:-2]
    x, y = x.reshape(-1, 1, *x.shape[-2:]), y.reshape(-1, 1, *y.shape[-2:])
    taps = torch.exp(-torch.arange(-5.0, 6.0, dtype=torch.float64).square() / (2 * 1.5**2))
    taps = (taps / taps.sum()).to(x.device)

    def smooth(z: Tensor) -> Tensor:
        return conv2d(conv2d(z, taps.view(1, 1, 11, 1)), taps.view(1, 1, 1, 11))

    mean_x, mean_y = smooth(x), smooth(y)
    var_x = smooth(x * x) - mean_x.square()
    var_y = smooth(y * y) - mean_y.square()
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2)
    )
    return similarity.mean((-3, -2, -1)).reshape(batch)


def _check_same_shape(image: Tensor, reference: Tensor) -> None:
    if image.shape != reference.shape:
        raise ValueError(
            f"image and reference must have one shape, got {tuple(image.shape)} "
            f"and {tuple(reference.shape)}"
        )
