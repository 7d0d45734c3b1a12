"""Deveil images: remove rain accumulation, the veil of distant rain (Sec. 5.2), by dehazing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from jorder_preproc.functional import windows
from jorder_preproc.images import check_image, float_to_pixels, pixels_to_float
from jorder_preproc.models.deveil import DeveilNetwork

EPSILON = 1e-5
"""Keeps the division by alpha finite; Eq. 10."""

LIGHT_RANGE = (0.8, 1.0)
"""Range of the brightest channel of an estimated atmospheric light: an overcast sky is the
brightest part of a rainy scene."""

THIN_VEIL = 0.05
"""Mean of 1 - alpha below which an image counts as clear."""

_LIGHT_PX = 128
_LIGHT_WINDOW = 5
_LIGHT_SHARE = 0.01
_MOST_TINT = 0.05


class Veil(NamedTuple):
    """The veil in images, as the deveil network estimates it.

    Attributes:
        coefficients: of log alpha, float (N, 2, 1, h, w); see `DeveilNetwork`.
        atmospheric_light: A, float (N, 3, 1, 1), in (0, 1].
    """

    coefficients: Tensor
    atmospheric_light: Tensor


class Deveiled(NamedTuple):
    """Deveiled images, and the veil that was removed.

    Attributes:
        background: B, float, shaped like the image, in [0, 1].
        transmission: alpha, float, shaped like the image, > 0; above 1 where the darkening
            of the sky outweighs the veil.
        atmospheric_light: A, float (3, 1, 1) or (N, 3, 1, 1), in (0, 1].
    """

    background: Tensor
    transmission: Tensor
    atmospheric_light: Tensor


@torch.no_grad()  # not inference mode: the results may go into what is trained
def deveil(
    network: DeveilNetwork, image: Tensor, *, atmospheric_light: Tensor | None = None
) -> Deveiled:
    """Estimate B and alpha of Eq. 3 from a veiled image O without streaks.

    The network runs on its own device; the results are on that of the image.

    Args:
        network: what `load_deveil_model` returns.
        image: O, float RGB (3, H, W) or (N, 3, H, W), in [0, 1], any H, W >= 1.
        atmospheric_light: A, float (3, 1, 1) or (N, 3, 1, 1), in (0, 1]; None estimates it
            from each image.

    Returns:
        B, alpha and A in the dtype and on the device of the image.

    Raises:
        TypeError, ValueError: see `check_image`; or an atmospheric light of another shape, or
            outside (0, 1].
    """
    check_image(image)
    frames = (image if image.ndim == 4 else image[None]).detach()
    device = next(network.parameters()).device
    precise = torch.promote_types(image.dtype, torch.float32)
    light, count = atmospheric_light, len(frames)
    if light is not None:
        if light.shape not in ((3, 1, 1), (1, 3, 1, 1), (count, 3, 1, 1)):
            raise ValueError(
                f"atmospheric_light must be (3, 1, 1) or ({count}, 3, 1, 1), one for each image, "
                f"got {tuple(light.shape)}"
            )
        if not (light > 0).all() or not (light <= 1).all():
            raise ValueError(f"atmospheric_light must be in (0, 1], got {light.flatten().tolist()}")
        light = light.expand(count, 3, 1, 1).to(device, torch.float32)
    veil = estimate_veil(network, _overview(network, frames), light)
    moved = frames.to(device, precise)
    rows, columns = (positions(size, device=device) for size in moved.shape[-2:])
    background, transmission = remove_veil(moved, veil, rows, columns)
    parts = (background.clamp(0, 1), transmission, veil.atmospheric_light)
    results = [part.to(frames) for part in parts]
    return Deveiled(*(results if image.ndim == 4 else (result[0] for result in results)))


def estimate_light(overview: Tensor) -> Tensor:
    """Atmospheric light A of images, from the brightest pixels of their dark channel.

    The dark channel, the minimum over the three channels and a window, is bright where there
    is nothing but veil. The median colour of its brightest hundredth excludes small lamps,
    saturated spots and noise. In images without such pixels A cannot be seen, so the result is
    clamped to `LIGHT_RANGE` and to colours close to grey, as those of an overcast sky.

    Args:
        overview: downscaled whole images, float RGB (N, 3, h, w), in [0, 1].

    Returns:
        A, float (N, 3, 1, 1).
    """
    if len(overview) == 0:
        return overview.new_ones(0, 3, 1, 1)
    scale = min(1.0, _LIGHT_PX / max(overview.shape[-2:]))
    height, width = (max(round(side * scale), 1) for side in overview.shape[-2:])
    overview = adaptive_avg_pool2d(overview, (height, width))
    window = min(_LIGHT_WINDOW, *((side - 1) // 2 * 2 + 1 for side in overview.shape[-2:]))
    dark = -max_pool2d(-overview.amin(1, keepdim=True), window, stride=1, padding=window // 2)
    dark, colours = dark.flatten(1), overview.flatten(2)
    count = max(round(dark.shape[1] * _LIGHT_SHARE), 1)
    places = dark.topk(count).indices
    brightest = colours.gather(2, places[:, None].expand(-1, 3, -1)).median(2).values
    brightest = brightest.clamp(min=EPSILON)  # black is grey, too
    level = brightest.amax(1, keepdim=True)
    tint = (brightest / level).clamp(min=1 - _MOST_TINT)
    return (tint * level.clamp(*LIGHT_RANGE))[..., None, None]


def estimate_veil(
    network: DeveilNetwork, overview: Tensor, atmospheric_light: Tensor | None = None
) -> Veil:
    """Estimate the veil in images.

    Args:
        overview: downscaled whole images, float RGB (N, 3, h, w), in [0, 1], on the network's
            device, with height and width of `network.overview_shape`.
        atmospheric_light: A, float (N, 3, 1, 1); None estimates it.
    """
    light = estimate_light(overview) if atmospheric_light is None else atmospheric_light
    dtype = next(network.parameters()).dtype
    coefficients = network((overview / light).to(dtype))
    return Veil(coefficients.to(overview.dtype), light)


def remove_veil(image: Tensor, veil: Veil, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """B = (O - (1 - alpha) A) / (alpha + epsilon), Eq. 10, for a window of images.

    Args:
        image: O of the window, float RGB (N, 3, H, W).
        veil: of the whole images.
        rows, columns: positions of the window's rows and columns in the whole image, float
            (H,) and (W,); see `positions`.

    Returns:
        B, not clamped, and alpha, both shaped like the image.
    """
    coefficients, light = (part.to(image.dtype) for part in veil)
    height, width = coefficients.shape[-2:]
    vertical = _interpolation(rows, height).to(image.dtype)
    horizontal = _interpolation(columns, width).to(image.dtype)
    base, slope = (vertical @ coefficients @ horizontal.mT).unbind(1)
    transmission = (base + slope * (image / light)).exp()
    background = (image - (1 - transmission) * light) / (transmission + EPSILON)
    return background, transmission


def veil_thickness(overview: Tensor, veil: Veil) -> Tensor:
    """Mean of max(1 - alpha, 0) over each image: float (N,)."""
    rows, columns = (positions(size, device=overview.device) for size in overview.shape[-2:])
    _, transmission = remove_veil(overview, veil, rows, columns)
    return (1 - transmission).clamp(min=0).mean((1, 2, 3))


def is_veiled(network: DeveilNetwork, views: Sequence[Tensor]) -> Tensor:
    """Whether the veil in the last of the views is thicker than `THIN_VEIL`: bool (N,)."""
    veil = estimate_from_views(network, views)
    return veil_thickness(_overview(network, views[-1]), veil) > THIN_VEIL


def remove_in_strips(
    network: DeveilNetwork,
    views: Sequence[Tensor],
    dtype: torch.dtype,
    streak_map: Tensor | None = None,
) -> Tensor:
    """B of the last of the views, as `deveil` returns it, computed some rows at a time.

    Args:
        network, views: see `estimate_from_views`.
        dtype: of the result: float, uint8 or uint16.
        streak_map: streaks seen through the veil, alpha S; S takes its place.
    """
    source = views[-1]
    veil = estimate_from_views(network, views)
    device = veil.coefficients.device
    down, across = (positions(size, device=device) for size in source.shape[-2:])
    target = torch.empty_like(source, dtype=dtype)
    for rows in windows.strips(source):
        image = pixels_to_float(source[:, :, rows])
        image = image.to(device, torch.promote_types(image.dtype, torch.float32))
        background, transmission = remove_veil(image, veil, down[rows], across)
        target[:, :, rows] = float_to_pixels(background.clamp(0, 1), dtype)
        if streak_map is not None:
            seen = pixels_to_float(streak_map[:, :, rows]).to(image)
            streaks = (seen / (transmission + EPSILON)).clamp(max=1)
            streak_map[:, :, rows] = float_to_pixels(streaks, streak_map.dtype)
    return target


def estimate_from_views(network: DeveilNetwork, views: Sequence[Tensor]) -> Veil:
    """The veil in several views of the same images: the mean of the estimates from each.

    A rainy image and the same image without its streaks show one veil. Streaks hide part of
    it, and so does what their removal smoothed; the errors of the two partly cancel.

    Args:
        network: what `load_deveil_model` returns.
        views: each (N, 3, H, W), float, uint8 or uint16.
    """
    veils = [estimate_veil(network, _overview(network, view)) for view in views]
    return Veil(*(torch.stack(parts).mean(0) for parts in zip(*veils, strict=True)))


def _overview(network: DeveilNetwork, images: Tensor) -> Tensor:
    device = next(network.parameters()).device
    height, width = images.shape[-2:]
    return windows.overview(images, *network.overview_shape((height, width))).to(device)


def positions(size: int, device: torch.device | None = None) -> Tensor:
    """Centres of the pixels along an axis whose ends are 0 and 1."""
    return (torch.arange(size, device=device) + 0.5) / size


def _interpolation(at: Tensor, size: int) -> Tensor:
    """Weights (len(at), size) of linear interpolation between `size` cells."""
    nearest = (at * size - 0.5).clamp(0, size - 1)
    distance = nearest[:, None] - torch.arange(size, device=at.device)
    return (1 - distance.abs()).clamp(min=0)
