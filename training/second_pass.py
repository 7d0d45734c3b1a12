"""The second removal of streaks, after the veil is off (Fig. 10's derain-deveil-derain)."""

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
    """What the first pictures of a batch look like when they are derained again.

    The network as it is takes the streaks off, Eq. 10 the veil with the transmission that
    the batch tells. What is left of the streaks is stronger then, and drawn in another way
    than rain is. The target loses its veil likewise; no gradient goes through the first pass.

    Args:
        network: derains.
        batch: rainy, background float (N, 3, H, W), in [0, 1]; transmission (N, 1, H, W);
            atmospheric_light (N, 3, 1, 1); and the labels streak_map, region.
        count: of pictures that are taken there.

    Returns:
        The batch with these pictures, and their labels, in place of the first.
    """
    first = derain(network, batch["rainy"][:count], dry="derain").background
    light, transmission = (batch[key][:count] for key in ("atmospheric_light", "transmission"))
    with torch.no_grad():
        rainy, background = (
            ((image - (1 - transmission) * light) / (transmission + EPSILON)).clamp(0, 1)
            for image in (first, batch["background"][:count])
        )
        streak_map = (rainy - background).clamp(min=0)
        region = (streak_map.amax(1) > VISIBLE).long()
    again = {"rainy": rainy, "background": background, "streak_map": streak_map, "region": region}
    return {**batch, **{key: torch.cat([own, batch[key][count:]]) for key, own in again.items()}}
