"""JORDER: networks that predict region mask R, streaks S and background B in stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, relu

from jorder_preproc.models.context import ContextNetwork, conv
from jorder_preproc.models.cues import ImageCues
from jorder_preproc.models.encoder_decoder import EncoderDecoder
from jorder_preproc.models.presence import RainPresence
from jorder_preproc.models.strips import strips
from jorder_preproc.models.variants import VARIANTS, Variant, get_variant

LabelConvention = Literal["paper", "release"]
_Predicted = tuple[Tensor, Tensor, Tensor]  # R, S and the residual of B, by heads

_VALUES_OF_HEADS = 1 << 19  # of F, at once


class StageOutput(NamedTuple):
    """Predictions of one stage, at the input's height and width.

    Attributes:
        background: B, (N, 3, H, W), not clamped.
        streak_map: S, (N, 3, H, W), sign as in `Jorder.label_convention`; of a network
            that predicts B alone, what the stage subtracts.
        mask_logits: R before the softmax, (N, 2, H, W), classes as in
            `Jorder.label_convention`; of a network that predicts B alone, zeros.
        coarsest: features for `RainPresence`, (N, C, H / fold, W / fold) with the fold of
            the network; None unless its context network is an encoder-decoder.
    """

    background: Tensor
    streak_map: Tensor
    mask_logits: Tensor
    coarsest: Tensor | None = None


class _StageState(NamedTuple):
    """Features and estimates for the next stage, at the network's own resolution."""

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
    """R and S, then the background residual, from F and the earlier ones (Sec. 4.1, Fig. 16)."""

    def __init__(self, variant: Variant):
        super().__init__()
        self.order = variant.order
        fold = variant.unshuffle**2
        mask, streaks = 2 * fold, 3 * fold
        self.mask = conv(variant.channels + (streaks if self.order == "srb" else 0), mask)
        self.streaks = conv(variant.channels + (mask if self.order == "rsb" else 0), streaks)
        self.residual = conv(variant.channels + mask + streaks, 3 * fold)

    def forward(self, features: Tensor, previous: _StageState | None) -> _Predicted:
        def refine(name: str, *seen: Tensor) -> Tensor:
            estimate: Tensor = getattr(self, name)(torch.cat([features, *seen], 1))
            return estimate if previous is None else estimate + getattr(previous, name)

        if self.order == "srb":
            streaks = refine("streaks")
            mask = refine("mask", streaks)
        else:
            mask = refine("mask")
            streaks = refine("streaks", mask) if self.order == "rsb" else refine("streaks")
        return mask, streaks, self.residual(torch.cat([features, mask, streaks], 1))


class _BackgroundHead(nn.Module):
    """The background residual from F alone (RAW of Table 6); see `StageOutput`."""

    def __init__(self, variant: Variant):
        super().__init__()
        self.residual = conv(variant.channels, 3 * variant.unshuffle**2)

    def forward(self, features: Tensor, previous: _StageState | None) -> _Predicted:
        residual = self.residual(features)
        mask = residual.new_zeros(len(residual), residual.shape[1] // 3 * 2, *residual.shape[2:])
        return mask, -residual, residual


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

    def forward(self, features: Tensor, previous: _StageState | None) -> _Predicted:
        mask, streaks = self.mask(features), self.streaks(features)
        if previous is not None:
            mask, streaks = mask + previous.mask, streaks + previous.streaks
        scale_r, shift_r = self.from_mask(mask)
        scale_s, shift_s = self.from_streaks(streaks)
        fused = features * scale_r * scale_s + features + shift_r + shift_s
        return mask, streaks, self.residual(fused)


class JorderStage(nn.Module):
    """One recurrence of joint rain detection and removal (blue box of Fig. 2)."""

    def __init__(self, variant: Variant):
        super().__init__()
        self.variant = variant
        images = 2 if variant.residual_stages else 1
        self.encoder = conv(3 * images * variant.unshuffle**2, variant.channels)
        self.context = (
            EncoderDecoder(variant, variant.cues)
            if variant.context == "encoder_decoder"
            else ContextNetwork(variant)
        )
        heads = _BackgroundHead if variant.order == "raw" else _ConcatHeads
        self.heads = (_ModulateHeads if variant.fusion == "modulate" else heads)(variant)
        # an untrained stage returns its input
        *_, last = self.heads.get_submodule("residual").modules()
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        rainy: Tensor,
        estimate: Tensor,
        previous: _StageState | None,
        active_paths: int | None = None,
        cues: Tensor | None = None,
    ) -> tuple[StageOutput, _StageState]:
        """Predict R, S, B from the rainy image O and the estimate O_t of the stage before."""
        if self.variant.residual_stages:
            base, images = rainy, torch.cat([rainy, estimate], 1)
        else:
            base, images, previous = estimate, estimate, None
        features = self.encoder(pixel_unshuffle(images, self.variant.unshuffle))
        if self.variant.block == "paper":
            features = relu(features)
        coarse = isinstance(self.context, EncoderDecoder)
        option = cues if coarse else active_paths
        after_blocks = self.context(features, previous and previous.features, option)
        mask, streaks, residual = self._run_heads(after_blocks[-1], previous)
        output = StageOutput(
            background=base + pixel_shuffle(residual, self.variant.unshuffle),
            streak_map=pixel_shuffle(streaks, self.variant.unshuffle),
            mask_logits=pixel_shuffle(mask, self.variant.unshuffle),
            coarsest=after_blocks[0] if coarse else None,
        )
        return output, _StageState(after_blocks, mask, streaks)

    def _run_heads(self, features: Tensor, previous: _StageState | None) -> list[Tensor]:
        """R, S and the residual of B, in `strips` that overlap by the reach of the heads."""
        reach, size = self.variant.head_reach, features.shape[2:]
        results: list[Tensor] = []
        for start, stop in strips(features, _VALUES_OF_HEADS, 8 * reach):
            first = max(start - reach, 0)
            seen = slice(first, stop + reach), slice(start - first, stop - first)
            before = previous and previous._replace(
                mask=previous.mask[:, :, seen[0]], streaks=previous.streaks[:, :, seen[0]]
            )
            parts = self.heads(features[:, :, seen[0]], before)
            if start == 0 and stop == size[0]:
                return list(parts)
            results = results or [part.new_empty(*part.shape[:2], *size) for part in parts]
            for result, part in zip(results, parts, strict=True):
                result[:, :, start:stop] = part[:, :, seen[1]]
        return results


class Jorder(nn.Module):
    """Recurrent joint rain detection and removal (Sec. 4 and 5.1).

    Args:
        name: a row of the variants table; see `list_models`.
        label_convention: what the weights mean by R and S. `paper`: mask class 1 is
            rain and S >= 0; `release`: mask class 1 is clean > rainy and the streak
            output is clean - rainy.
        input_scale: the value of white that the weights were trained with: 1, or
            255 for the authors' release. Input and output are in [0, 1] either way.
        gated: whether `derain` gates its changes by R, for which it must have been trained;
            None if R means rain.
        dry_threshold: probability of rain below which `derain` returns an image as it is,
            in [0, 1]; for networks with `presence`.
        variant: the network to build under a name that is not in the table, for comparisons.

    Attributes:
        name, label_convention, input_scale, dry_threshold: as given.
        gated: as given; may be set, where `detects_rain`.
        variant: the row.
        presence: estimates whether it rains, from the first stage; or None.
        image_cues: describes the rain in the whole image to the stages; or None.
        detects_rain: whether mask class 1 is rain.
        weights_file: that the weights were loaded from, by `load_model`; or None.
        engine: what takes the place of the stages in `predict`; see `jorder_preproc.backends`.
        fold: height and width of the input must be multiples of this, px.
        multiple: tile origins must be multiples of this to match whole-image output, px.
        receptive_field: an output pixel depends on at most this many input pixels to each side.

    Raises:
        ValueError: no such variant or label convention, a scale that is not positive, or
            a gate without R.
    """

    def __init__(
        self,
        name: str,
        label_convention: LabelConvention = "paper",
        input_scale: float = 1.0,
        gated: bool | None = None,
        dry_threshold: float = 0.0,
        variant: Variant | None = None,
    ):
        super().__init__()
        if label_convention not in get_args(LabelConvention):
            raise ValueError(
                f"label_convention must be one of {', '.join(get_args(LabelConvention))}, "
                f"got {label_convention!r}"
            )
        if not 0 < input_scale < math.inf:
            raise ValueError(f"input_scale must be positive and finite, got {input_scale}")
        if not 0 <= dry_threshold <= 1:
            raise ValueError(f"dry_threshold must be in [0, 1], got {dry_threshold}")
        self.name = name
        self.dry_threshold = dry_threshold
        self.label_convention = label_convention
        self.input_scale = input_scale
        if variant is not None and name in VARIANTS:
            raise ValueError(
                f"{name} is a row of the table; choose another name for another network"
            )
        self.variant = get_variant(name) if variant is None else variant
        self.gated = self.detects_rain if gated is None else gated
        v = self.variant
        self.presence = RainPresence(v.channels * 2**v.levels) if v.levels else None
        self.image_cues = ImageCues(v.cues) if v.cues else None
        self.weights_file: Path | None = None
        self.engine: Callable[[Tensor, Tensor | None], StageOutput] | None = None
        self.stages = nn.ModuleList(JorderStage(v) for _ in range(v.stages))
        self.fold = v.unshuffle * 2**v.levels
        self.multiple = v.unshuffle * v.context_multiple
        if v.cues:
            self.multiple = math.lcm(self.multiple, ImageCues.cell_px)
        # the last term is for the fold: a pixel and its neighbours share one cell
        cells = v.stages * (1 + v.context_reach + v.head_reach) + (v.unshuffle > 1)
        self.receptive_field = v.unshuffle * cells

    @property
    def detects_rain(self) -> bool:
        return self.label_convention == "paper" and self.variant.order != "raw"

    @property
    def gated(self) -> bool:
        return self._gated

    @gated.setter
    def gated(self, gated: bool) -> None:
        if gated and not self.detects_rain:
            raise ValueError(
                f"{self.name} cannot be gated: none of its outputs is a rain region mask"
            )
        self._gated = gated

    def forward(
        self, rainy: Tensor, active_paths: int | None = None, cues: Tensor | None = None
    ) -> list[StageOutput]:
        """Predict R, S and B, once per stage; the last is the result.

        Args:
            rainy: O, float RGB (N, 3, H, W) in [0, 1]; H, W multiples of the fold.
            active_paths: run only the first paths of every block: the sub-networks
                of the coarse-to-fine loss, Eq. 7. None runs all.
            cues: `image_cues` of the whole image that `rainy` is a window of,
                (N, cues); None computes them from `rainy`.

        Raises:
            ValueError: wrong shape.
        """
        if rainy.ndim != 4 or rainy.shape[1] != 3:
            raise ValueError(
                f"rainy must be (N, 3, H, W), got {tuple(rainy.shape)}; "
                "add a batch axis with image[None]"
            )
        fold = self.fold
        if rainy.shape[2] % fold or rainy.shape[3] % fold:
            raise ValueError(
                f"{self.name} needs height and width that are multiples of {fold}, "
                f"got {tuple(rainy.shape[2:])}; use jorder_preproc.derain, which pads"
            )
        if self.image_cues is not None and cues is None:
            cues = self.image_cues(self.image_cues.features(rainy))
        if self.input_scale != 1:
            rainy = rainy * self.input_scale
        outputs: list[StageOutput] = []
        estimate, state = rainy, None
        for stage in self.stages:
            output, state = stage(rainy, estimate, state, active_paths, cues)
            outputs.append(output)
            estimate = output.background
        if self.input_scale == 1:
            return outputs
        return [
            output._replace(
                background=output.background / self.input_scale,
                streak_map=output.streak_map / self.input_scale,
            )
            for output in outputs
        ]

    def predict(self, rainy: Tensor, cues: Tensor | None = None) -> StageOutput:
        """The result of `forward`: the last stage's, with the `coarsest` of the first."""
        if self.engine is not None:
            return self.engine(rainy, cues)
        stages = self(rainy, cues=cues)
        output: StageOutput = stages[-1]._replace(coarsest=stages[0].coarsest)
        return output


def build_model(name: str) -> Jorder:
    """An untrained network; ValueError for an unknown name."""
    return Jorder(name)
