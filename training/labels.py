"""Conversion of released weights to the paper's labels, so that they can be fine-tuned."""

from __future__ import annotations

import torch
from torch import Tensor

from jorder_preproc.errors import UserError
from jorder_preproc.models import Jorder


@torch.no_grad()
def adopt_paper_labels(network: Jorder) -> None:
    """Rewrite the heads of a network of the release so that S and R are the paper's (Eq. 2).

    The release's streak output is clean - rainy: S changes its sign. Its mask class 1 is
    clean > rainy: the two classes of R change places. Stages add up both outputs, and F is
    modulated by them, so the last convolution of each head and the first ones of each
    modulation are rewritten together, in every stage. B stays as it is, up to rounding.

    Class 1 then means rainy >= clean, which takes in pixels without rain: a gate by it is open
    nearly everywhere until the network has been trained with labels that tell them apart.

    Args:
        network: with `label_convention` `release`; changed in place.

    Raises:
        UserError: its labels are the paper's already, or its heads are not the release's.
    """
    if network.label_convention != "release":
        raise UserError(f"{network.name} has the paper's labels already; use it as it is")
    if network.variant.fusion != "modulate":
        raise UserError(
            f"only heads with fusion 'modulate' are of the release, those of {network.name} have "
            f"{network.variant.fusion!r}; load weights of jorder_e or jorder_e_practical"
        )
    for stage in network.stages:
        heads = stage.get_submodule("heads")
        for parameter in heads.get_submodule("mask.1").parameters():
            parameter.copy_(_swap_classes(parameter, 0))
        for parameter in heads.get_submodule("streaks.1").parameters():
            parameter.neg_()
        for branch in ("scale.0", "shift.0"):
            reads_mask = heads.get_submodule(f"from_mask.{branch}").get_parameter("weight")
            reads_mask.copy_(_swap_classes(reads_mask, 1))
            heads.get_submodule(f"from_streaks.{branch}").get_parameter("weight").neg_()
    network.label_convention = "paper"


def _swap_classes(parameter: Tensor, axis: int) -> Tensor:
    """Exchange the first half of the channels, class 0, and the second, class 1."""
    return parameter.roll(parameter.shape[axis] // 2, axis)
