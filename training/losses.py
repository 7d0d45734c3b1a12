"""The losses of Sec. 4.3 and 5.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, l1_loss, mse_loss

from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import region_gate
from jorder_preproc.functional.deveil import estimate_veil, positions, remove_veil
from jorder_preproc.models import DeveilNetwork, StageOutput

_FLOOR = 1e-4
"""Squared error, 40 dB, added to each so that nearly perfect images do not dominate."""
_LIKE_L1 = 0.016
"""Scale of the logarithm: for errors of 30 dB its gradient is as large as that of `l1`."""


def joint_loss(
    stages: Sequence[StageOutput],
    labels: Mapping[str, Tensor],
    distance: str = "l1",
    streak_weight: float = 0.01,
    mask_weight: float = 0.001,
    gated: bool = True,
    feature_distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    feature_weight: float = 0.0,
) -> dict[str, Tensor]:
    """Joint loss of detection, estimation and removal, summed over stages: Eq. 6 in Eq. 9.

    The background has weight 1, streaks and mask are auxiliary, and the mask term is
    the two-class cross-entropy; the paper prints both otherwise. The background is that of
    `derain`, which the predicted R gates. The paper has no gate; without it the background
    is the network's own.

    Args:
        stages: predictions of each stage.
        labels: rainy, background, streak_map (N, 3, H, W) in [0, 1]; region long
            (N, H, W), 1 on rain.
        distance: `l1` or `l2`, the mean absolute or squared difference (Table 13); or `psnr`,
            0.016 times the mean over the images of the logarithm of `l2`, saturating at 40 dB.
        streak_weight: lambda of S.
        mask_weight: lambda of R.
        gated: apply the gate of `derain`.
        feature_distance, feature_weight: an additional loss of the last stage's background,
            and its weight; see `FeatureDistance`.

    Returns:
        Weighted terms `loss_background`, `loss_streaks`, `loss_mask` and, where asked for,
        `loss_features`; their sum is the loss.
    """
    distances: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "l1": l1_loss,
        "l2": mse_loss,
        "psnr": _psnr_loss,
    }
    if distance not in distances:
        raise UserError(f"distance must be one of {', '.join(distances)}, got {distance!r}")
    measure = distances[distance]
    rainy = labels["rainy"]
    backgrounds = []
    for stage in stages:
        predicted = stage.background.float()
        if gated:
            gate = region_gate(stage.mask_logits.float().softmax(1)[:, 1:])
            predicted = rainy + gate * (predicted - rainy)
        backgrounds.append(predicted)
    background = [measure(predicted, labels["background"]) for predicted in backgrounds]
    streaks = [measure(s.streak_map.float(), labels["streak_map"]) for s in stages]
    mask = [cross_entropy(s.mask_logits.float(), labels["region"]) for s in stages]
    losses = {
        "loss_background": torch.stack(background).sum(),
        "loss_streaks": streak_weight * torch.stack(streaks).sum(),
        "loss_mask": mask_weight * torch.stack(mask).sum(),
    }
    if feature_distance is not None:
        distance_of_features = feature_distance(backgrounds[-1], labels["background"])
        losses["loss_features"] = feature_weight * distance_of_features
    return losses


def _psnr_loss(predicted: Tensor, target: Tensor) -> Tensor:
    return _LIKE_L1 * _log_mse(predicted - target)


def _log_mse(error: Tensor) -> Tensor:
    """Logarithm of the mean squared error of each image, saturating at 40 dB; their mean."""
    return (error.square().mean((1, 2, 3)) + _FLOOR).log().mean()


def accumulation_loss(
    network: DeveilNetwork, rainy: Tensor, labels: Mapping[str, Tensor]
) -> Tensor:
    """Loss of rain-accumulation removal: Eq. 10's |(O - (1 - alpha) A) / (alpha + eps) - B|^2.

    The logarithm is taken per image, so that thick accumulation does not outweigh thin: the
    loss is the negative mean PSNR, saturating at 40 dB. The target B is the image before
    it was darkened, so that the network also learns to brighten.

    Args:
        network: gives alpha.
        rainy: O, float (N, 3, H, W), in [0, 1].
        labels: background B, shaped like O; atmospheric_light, (N, 3, 1, 1), the input of
            the network.

    Returns:
        The mean over the images.
    """
    height, width = rainy.shape[-2:]
    overview = adaptive_avg_pool2d(rainy, network.overview_shape((height, width)))
    veil = estimate_veil(network, overview, labels["atmospheric_light"])
    down, across = (positions(size, rainy.device) for size in (height, width))
    some = (..., slice(None, None, 2), slice(None, None, 2))  # the transmission is smooth
    with torch.autocast(rainy.device.type, enabled=False):  # dividing by alpha needs float32
        background, _ = remove_veil(rainy[some], veil, down[::2], across[::2])
    return _log_mse(background - labels["background"][some])
