"""Training images for the second deraining of derain-deveil-derain (Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jorder_preproc.functional.derain import derain
from jorder_preproc.functional.deveil import EPSILON
from jorder_preproc.models import Jorder
from jorder_preproc.rain.synthesize import VISIBLE


def take_to_second_pass(
    network: Jorder, batch: Mapping[str, Tensor], count: int
) -> dict[str, Tensor]:
    """Replace the first images of a batch by their derained and deveiled versions.

    The current network removes the streaks, Eq. 10 the accumulation with the transmission of
    the batch. Deveiling amplifies the remaining streaks, which then look unlike fresh rain.
    The target is deveiled likewise; no gradient passes through the first deraining.

    Args:
        network: the derainer in training.
        batch: rainy, background float (N, 3, H, W), in [0, 1]; transmission (N, 1, H, W);
            atmospheric_light (N, 3, 1, 1); and the labels streak_map, region, raining.
        count: number of images to replace.

    Returns:
        The batch with these images and their labels in the first `count` places.
    """
    first = derain(network, batch["rainy"][:count], dry="derain").background
    light, transmission = (batch[key][:count] for key in ("atmospheric_light", "transmission"))
    with torch.no_grad():
        rainy, background = (
            ((image - (1 - transmission) * light) / (transmission + EPSILON)).clamp(0, 1)
            for image in (first, batch["background"][:count])
        )
        change = rainy - background
        region = (change.abs().amax(1) > VISIBLE).long()
    again = {
        "rainy": rainy,
        "background": background,
        "streak_map": change.clamp(min=0),
        "region": region,
        "raining": region.flatten(1).any(1).to(batch["raining"]),
    }
    return {**batch, **{key: torch.cat([own, batch[key][count:]]) for key, own in again.items()}}
