"""JORDER: region mask R, streaks S and background B from one image, stage after stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, relu

from jorder_preproc.models.context import ContextNetwork, conv
from jorder_preproc.models.variants import Variant, get_variant

LabelConvention = Literal["paper", "release"]


class StageOutput(NamedTuple):
    """What one stage predicts, all at the input's height and width.

    Attributes:
        background: B, (N, 3, H, W), not clamped.
        streak_map: S, (N, 3, H, W), sign as in `Jorder.label_convention`.
        mask_logits: R before the softmax, (N, 2, H, W), classes as in
            `Jorder.label_convention`.
    """

    background: Tensor
    streak_map: Tensor
    mask_logits: Tensor


class _StageState(NamedTuple):
    """What a stage hands on: estimates at the network's own resolution."""

    features: list[Tensor]
    mask: Tensor
    streaks: Tensor


class _Modulation(nn.Module):
    """Scale and shift for F, computed from an estimate of R or S (release)."""

    def __init__(self, in_channels: int, channels: int, kernel: int):
        super().__init__()
        hidden = 16
        scale_in, scale_out = conv(in_channels, hidden, kernel), conv(hidden, channels, kernel)
        nn.init.zeros_(scale_out.weight)
        nn.init.constant_(scale_out.get_parameter("bias"), 1.0)
        self.scale = nn.Sequential(scale_in, nn.ReLU(), scale_out)
        self.shift = nn.Sequential(
            conv(in_channels, hidden, kernel), nn.ReLU(), conv(hidden, channels, kernel)
        )

    def forward(self, estimate: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale(estimate), self.shift(estimate)


class _ConcatHeads(nn.Module):
    """R, then S, then the background residual, each from F and what came before (Sec. 4.1)."""

    def __init__(self, variant: Variant):
        super().__init__()
        fold = variant.unshuffle**2
        self.mask = conv(variant.channels, 2 * fold)
        self.streaks = conv(variant.channels + 2 * fold, 3 * fold)
        self.residual = conv(variant.channels + 5 * fold, 3 * fold)

    def forward(
        self, features: Tensor, previous: _StageState | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = self.mask(features)
        streaks = self.streaks(torch.cat([features, mask], 1))
        residual = self.residual(torch.cat([features, mask, streaks], 1))
        return mask, streaks, residual


class _ModulateHeads(nn.Module):
    """R and S from F; the background residual from F modulated by both (release)."""

    def __init__(self, variant: Variant):
        super().__init__()
        fold = variant.unshuffle**2
        channels, hidden = variant.channels, variant.head_channels
        self.mask = nn.Sequential(conv(channels, hidden), conv(hidden, 2 * fold))
        self.streaks = nn.Sequential(conv(channels, hidden), conv(hidden, 3 * fold))
        self.from_mask = _Modulation(2 * fold, channels, variant.fusion_kernel)
        self.from_streaks = _Modulation(3 * fold, channels, variant.fusion_kernel)
        self.residual = nn.Sequential(conv(channels, channels), conv(channels, 3 * fold))

    def forward(
        self, features: Tensor, previous: _StageState | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask, streaks = self.mask(features), self.streaks(features)
        if previous is not None:
            mask, streaks = mask + previous.mask, streaks + previous.streaks
        scale_r, shift_r = self.from_mask(mask)
        scale_s, shift_s = self.from_streaks(streaks)
        fused = features * scale_r * scale_s + features + shift_r + shift_s
        return mask, streaks, self.residual(fused)


class JorderStage(nn.Module):
    """One recurrence of joint rain detection and removal (blue box of Fig. 2).

    Args:
        variant: the network it belongs to.
    """

    def __init__(self, variant: Variant):
        super().__init__()
        self.unshuffle = variant.unshuffle
        self.residual_stages = variant.residual_stages
        self.relu_encoder = variant.block == "paper"
        images = 2 if variant.residual_stages else 1
        self.encoder = conv(3 * images * variant.unshuffle**2, variant.channels)
        self.context = ContextNetwork(variant)
        self.heads = (_ModulateHeads if variant.fusion == "modulate" else _ConcatHeads)(variant)
        # an untrained stage returns the picture it got
        *_, last = (m for m in self.heads.residual.modules() if isinstance(m, nn.Conv2d))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        rainy: Tensor,
        estimate: Tensor,
        previous: _StageState | None,
        active_paths: int | None,
    ) -> tuple[StageOutput, _StageState]:
        """Predict R, S, B from the rainy image O and the estimate O_t of the stage before."""
        if self.residual_stages:
            base, images = rainy, torch.cat([rainy, estimate], 1)
        else:
            base, images, previous = estimate, estimate, None
        features = self.encoder(pixel_unshuffle(images, self.unshuffle))
        if self.relu_encoder:
            features = relu(features)
        after_blocks = self.context(features, previous and previous.features, active_paths)
        mask, streaks, residual = self.heads(after_blocks[-1], previous)
        output = StageOutput(
            background=base + pixel_shuffle(residual, self.unshuffle),
            streak_map=pixel_shuffle(streaks, self.unshuffle),
            mask_logits=pixel_shuffle(mask, self.unshuffle),
        )
        return output, _StageState(after_blocks, mask, streaks)


class Jorder(nn.Module):
    """Recurrent joint rain detection and removal (Sec. 4 and 5.1).

    Args:
        name: a row of the variants table; see `list_models`.
        label_convention: what the weights mean by R and S. `paper`: mask class 1 is
            rain and S >= 0; `release`: mask class 1 is clean > rainy and the streak
            output is clean - rainy.
        input_scale: the value of white that the weights were trained with: 1, or
            255 for the authors' release. Input and output are in [0, 1] either way.

    Attributes:
        name, label_convention, input_scale: as given.
        variant: the row.
        multiple: height and width of the input must be multiples of it.
        receptive_field: output pixels see at most this many input pixels to each side.

    Raises:
        ValueError: no such variant or label convention, or a scale that is not positive.
    """

    def __init__(
        self, name: str, label_convention: LabelConvention = "paper", input_scale: float = 1.0
    ):
        super().__init__()
        if label_convention not in get_args(LabelConvention):
            raise ValueError(
                f"label_convention must be one of {', '.join(get_args(LabelConvention))}, "
                f"got {label_convention!r}"
            )
        if not 0 < input_scale < math.inf:
            raise ValueError(f"input_scale must be positive and finite, got {input_scale}")
        self.name = name
        self.label_convention = label_convention
        self.input_scale = input_scale
        self.variant = get_variant(name)
        self.stages = nn.ModuleList(JorderStage(self.variant) for _ in range(self.variant.stages))

    @property
    def multiple(self) -> int:
        return self.variant.unshuffle

    @property
    def receptive_field(self) -> int:
        v = self.variant
        if v.context == "parallel":
            context = v.blocks * max(sum(path) for path in v.paths)
        else:
            context = sum(sum(v.paths[k % len(v.paths)]) for k in range(v.blocks))
        heads = 2 + 2 * (v.fusion_kernel // 2) + 2 if v.fusion == "modulate" else 3
        # the last unit is for the fold: a pixel and its neighbours share one cell
        return v.unshuffle * (v.stages * (1 + context + heads) + (v.unshuffle > 1))

    def forward(self, rainy: Tensor, active_paths: int | None = None) -> list[StageOutput]:
        """Predict R, S and B, once per stage; the last is the result.

        Args:
            rainy: O, float RGB (N, 3, H, W) in [0, 1]; H, W multiples of `multiple`.
            active_paths: run only the first paths of every block: the sub-networks
                of the coarse-to-fine loss, Eq. 7. None runs all.

        Raises:
            ValueError: wrong shape.
        """
        if rainy.ndim != 4 or rainy.shape[1] != 3:
            raise ValueError(
                f"rainy must be (N, 3, H, W), got {tuple(rainy.shape)}; "
                "add a batch axis with image[None]"
            )
        if rainy.shape[2] % self.multiple or rainy.shape[3] % self.multiple:
            raise ValueError(
                f"{self.name} needs height and width that are multiples of {self.multiple}, "
                f"got {tuple(rainy.shape[2:])}; use jorder_preproc.derain, which pads"
            )
        if self.input_scale != 1:
            rainy = rainy * self.input_scale
        outputs: list[StageOutput] = []
        estimate, state = rainy, None
        for stage in self.stages:
            output, state = stage(rainy, estimate, state, active_paths)
            outputs.append(output)
            estimate = output.background
        if self.input_scale == 1:
            return outputs
        return [
            StageOutput(
                background=output.background / self.input_scale,
                streak_map=output.streak_map / self.input_scale,
                mask_logits=output.mask_logits,
            )
            for output in outputs
        ]


def build_model(name: str) -> Jorder:
    """An untrained network.

    Raises:
        ValueError: unknown name.
    """
    return Jorder(name)


__all__: Sequence[str] = ["Jorder", "JorderStage", "LabelConvention", "StageOutput", "build_model"]
