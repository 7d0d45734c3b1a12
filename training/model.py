"""MMEngine models: networks with their losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import METRICS, MODELS
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.functional.deveil import deveil
from jorder_preproc.metrics import psnr
from jorder_preproc.models import (
    DeveilNetwork,
    Jorder,
    build_model,
    load_deveil_model,
    load_model,
)
from jorder_preproc.models.variants import Variant
from training.feature_distance import FeatureDistance
from training.labels import adopt_paper_labels
from training.losses import accumulation_loss, joint_loss
from training.second_pass import take_to_second_pass


@MODELS.register_module()
class DerainTraining(BaseModel):
    """A JORDER network with its losses.

    Args:
        name: a row of the variants table, or that of `variant`.
        weights: file to start from; None starts from random weights. Those of the authors'
            release get the paper's labels first, see `adopt_paper_labels`.
        distance, streak_weight, mask_weight: see `joint_loss`.
        coarse_to_fine: add the losses of the sub-networks with fewer paths (Eq. 7).
        gated: see `joint_loss`; the network is used the same way, `Jorder.gated`.
        second_pass: share of the images that is replaced by derained and deveiled images; see
            `take_to_second_pass`.
        presence_weight: of the loss of `RainPresence`, for networks that have it: the binary
            cross-entropy of the batch's `raining`.
        dry: share of dry images in the batches. Rainy ones count dry / (1 - dry) times in that
            loss, so that a probability of 0.5 speaks neither for rain nor against it.
        feature_weights: weights file for `FeatureDistance`; None leaves that loss out.
        feature_weight, feature_from: its weight, and the iteration from which it is used.
        variant: fields of a `Variant` that is not in the table, for ablations.

    Raises:
        UserError: `coarse_to_fine` on a network whose blocks have a single path, weights of
            losses or a gate on one that predicts B alone, weights for a `variant`, or a `dry`
            out of [0, 1).
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        distance: str = "l1",
        streak_weight: float = 0.01,
        mask_weight: float = 0.001,
        coarse_to_fine: bool = False,
        gated: bool = True,
        second_pass: float = 0.0,
        presence_weight: float = 0.01,
        dry: float = 0.5,
        feature_weights: str | None = None,
        feature_weight: float = 0.02,
        feature_from: int = 0,
        variant: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if not 0 <= dry < 1:
            raise UserError(f"dry must be in [0, 1), got {dry}")
        if variant is not None:
            if weights is not None:
                raise UserError(f"weights {weights} are of a named network, not of {name}")
            network = Jorder(name, variant=Variant(**variant))
        else:
            network = build_model(name) if weights is None else load_model(name, weights)
            if network.label_convention == "release":
                adopt_paper_labels(network)
        if network.variant.order == "raw" and (streak_weight or mask_weight):
            raise UserError(
                f"{name} predicts the background alone; streak_weight and mask_weight must be 0, "
                f"got {streak_weight} and {mask_weight}"
            )
        if gated and not network.detects_rain:
            raise UserError(f"{name} predicts the background alone; gated must be False")
        network.gated = gated
        self.network = network.requires_grad_(True)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = partial(
            joint_loss,
            distance=distance,
            streak_weight=streak_weight,
            mask_weight=mask_weight,
            feature_weight=feature_weight,
        )
        self.second_pass = second_pass
        self.presence_weight = presence_weight
        self.rainy_counts = dry / (1 - dry)
        self.feature_from = feature_from
        self.feature_distance = FeatureDistance(feature_weights) if feature_weights else None
        parallel = network.variant.context == "parallel"
        paths = len(network.variant.paths) if parallel else 1
        if coarse_to_fine and paths == 1:
            raise UserError(f"coarse_to_fine needs blocks with several paths; {name} has one")
        # None is the whole network, Eq. 7's L; the numbers are L^1 and L^2
        self.subnetworks = [None, *range(1, paths)] if coarse_to_fine else [None]

    def forward(self, mode: str = "tensor", **batch):  # type: ignore[no-untyped-def]
        """`loss`: dict of losses; `predict`: one dict per image with its PSNR; see MMEngine."""
        if mode == "loss":
            iteration = MessageHub.get_current_instance().get_info("iter", 0)
            # of small batches, whole images in some and none in others
            share = self.second_pass * len(batch["rainy"])
            count = math.floor((iteration + 1) * share) - math.floor(iteration * share)
            if count:
                batch = take_to_second_pass(self.network, batch, count)
            rainy = batch["rainy"].contiguous(memory_format=torch.channels_last)
            total: dict[str, Tensor] = {}
            features = self.feature_distance if iteration >= self.feature_from else None
            for active_paths in self.subnetworks:
                stages = self.network(rainy, active_paths)
                losses = self.loss(
                    stages, batch, gated=self.network.gated, feature_distance=features
                )
                for name, value in losses.items():
                    total[name] = total[name] + value if name in total else value
            presence, coarsest = self.network.presence, stages[0].coarsest
            if presence is not None and coarsest is not None:
                logits = presence(presence.sums(coarsest), coarsest[0, 0].numel())
                loss = binary_cross_entropy_with_logits(
                    logits.float(),
                    batch["raining"],
                    pos_weight=logits.new_tensor(self.rainy_counts, dtype=torch.float32),
                )
                total["loss_presence"] = self.presence_weight * loss
            return total
        restored = derain(self.network, batch["rainy"]).background
        return preset_scores(restored, batch) if mode == "predict" else restored


@MODELS.register_module()
class DeveilTraining(BaseModel):
    """A deveil network with its loss, Eq. 10.

    Args:
        name: a row of the table of deveil networks.
        weights: file to start from; None starts from random weights.
    """

    def __init__(self, name: str, weights: str | None = None):
        super().__init__()
        network = DeveilNetwork(name) if weights is None else load_deveil_model(weights)
        self.network = network.requires_grad_(True)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, mode: str = "tensor", **batch):  # type: ignore[no-untyped-def]
        """`loss`: dict of losses; `predict`: one dict per image with its PSNR; see MMEngine."""
        rainy = batch["rainy"]
        if mode == "loss":
            return {"loss": accumulation_loss(self.network, rainy, batch)}
        restored = deveil(self.network, rainy).background
        return preset_scores(restored, batch) if mode == "predict" else restored


def preset_scores(restored: Tensor, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Preset and PSNR of each image, rounded to 8 bits."""
    values = psnr((restored * 255).round() / 255, batch["background"])
    return [
        {"preset": preset, "psnr": float(value)}
        for preset, value in zip(batch["preset"], values, strict=True)
    ]


@METRICS.register_module()
class PresetPSNR(BaseMetric):
    """Mean luminance PSNR per preset, dB, and `mean` over the presets with rain."""

    default_prefix = "psnr"

    def process(self, data_batch, data_samples) -> None:  # type: ignore[no-untyped-def]
        self.results.extend(data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        by_preset: dict[str, list[float]] = {}
        for result in results:
            by_preset.setdefault(result["preset"], []).append(result["psnr"])
        means = {preset: sum(values) / len(values) for preset, values in by_preset.items()}
        rainy = [value for preset, value in means.items() if preset != "clean"]
        return {**means, "mean": sum(rainy) / len(rainy)} if rainy else means
