"""The networks of the paper and of the authors' release, as rows of one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PathDilations = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ContextVariant:
    """What tells one context network from another (Sec. 4.2).

    Attributes:
        channels: C, features.
        blocks: K, recurrences.
        paths: dilations of the two 3x3 convolutions of each path.
        context: `parallel` sums all paths in every block (Fig. 3); `sequential`
            chains them, block k holding path k mod len(paths) (Table 8).
        block: `paper` adds the paths before the ReLU (Sec. 4.2); `release` adds
            them after it, all but the first with weight 0.1.
    """

    channels: int
    blocks: int
    paths: tuple[PathDilations, ...] = ((1, 1), (2, 2), (3, 3))
    context: Literal["parallel", "sequential"] = "parallel"
    block: Literal["paper", "release"] = "paper"


@dataclass(frozen=True, kw_only=True)
class Variant(ContextVariant):
    """What tells one JORDER network from another, besides its context network.

    Attributes:
        stages: tau, recurrences of joint detection and removal (Sec. 5.1).
        fusion: `concat` predicts R, S, B in order from F and the earlier
            estimates (Sec. 4.1); `modulate` scales and shifts F by features of R
            and S, as the authors' release does.
        residual_stages: stages after the first refine R, S and the features of
            the stage before (residual task learning, Eq. 8) instead of starting
            again from its background.
        unshuffle: factor by which the input is folded into channels; 1 is none.
        head_channels: hidden channels of the R and S heads (`modulate` only).
        fusion_kernel: kernel size of the modulation convolutions.
        parameters: number of weights and biases.
        macs_per_pixel: multiply-accumulates per input pixel.

    The last two follow from the others; `tests/models/test_variants.py` counts them
    and says what to write here after a change.
    """

    stages: int
    parameters: int
    macs_per_pixel: int
    fusion: Literal["concat", "modulate"] = "concat"
    residual_stages: bool = False
    unshuffle: int = 1
    head_channels: int = 8
    fusion_kernel: int = 3


@dataclass(frozen=True, kw_only=True)
class DeveilVariant(ContextVariant):
    """What tells one deveil network from another, besides its context network (Sec. 5.2).

    Attributes:
        overview_px: longer side of the small picture of the whole that the network looks
            at; smaller pictures are taken as they are.
        unshuffle: factor by which that is folded into channels.
        parameters: number of weights and biases.
        macs_per_pixel: multiply-accumulates of the convolutions per pixel of the small
            picture.
    """

    overview_px: int
    unshuffle: int
    parameters: int
    macs_per_pixel: int


_RELEASE_PATHS = ((1, 1), (2, 2), (2, 4))

VARIANTS: dict[str, Variant] = {
    "jorder_minus": Variant(
        channels=64, blocks=9, stages=1, paths=((1, 1),), parameters=671_301, macs_per_pixel=670_077
    ),
    "jorder": Variant(
        channels=64, blocks=9, stages=1, parameters=2_000_709, macs_per_pixel=1_997_181
    ),
    "jorder_r": Variant(
        channels=64, blocks=9, stages=2, parameters=4_001_418, macs_per_pixel=3_994_362
    ),
    "jorder_e": Variant(
        channels=64,
        blocks=9,
        stages=2,
        paths=_RELEASE_PATHS,
        block="release",
        fusion="modulate",
        residual_stages=True,
        parameters=4_169_024,
        macs_per_pixel=4_161_168,
    ),
    "jorder_e_practical": Variant(
        channels=32,
        blocks=3,
        stages=2,
        paths=_RELEASE_PATHS,
        block="release",
        fusion="modulate",
        residual_stages=True,
        parameters=406_784,
        macs_per_pixel=405_072,
    ),
    "jorder_e_lite": Variant(
        channels=32,
        blocks=5,
        stages=2,
        paths=((1, 1), (1, 2), (1, 4)),
        context="sequential",
        block="release",
        fusion="modulate",
        residual_stages=True,
        unshuffle=2,
        head_channels=6,
        fusion_kernel=1,
        parameters=239_176,
        macs_per_pixel=59_484,
    ),
}

DEVEIL_VARIANTS: dict[str, DeveilVariant] = {
    "jorder_deveil": DeveilVariant(
        channels=64,
        blocks=9,
        overview_px=256,
        unshuffle=4,
        parameters=2_091_394,
        macs_per_pixel=129_456,
    ),
    "jorder_deveil_lite": DeveilVariant(
        channels=64,
        blocks=6,
        paths=((1, 1), (1, 2), (1, 4)),
        context="sequential",
        block="release",
        overview_px=128,
        unshuffle=4,
        parameters=540_418,
        macs_per_pixel=32_688,
    ),
}


def list_models() -> list[str]:
    """Names that `build_model` and `load_model` take, in order of the paper."""
    return list(VARIANTS)


def get_variant(name: str) -> Variant:
    """Row `name` of the table.

    Raises:
        ValueError: no such variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"unknown model {name!r}; choose from {', '.join(VARIANTS)}")
    return VARIANTS[name]


def list_deveil_models() -> list[str]:
    """Names that `build_deveil_model` and `load_deveil_model` take."""
    return list(DEVEIL_VARIANTS)


def get_deveil_variant(name: str) -> DeveilVariant:
    """Row `name` of the table of deveil networks.

    Raises:
        ValueError: no such variant.
    """
    if name not in DEVEIL_VARIANTS:
        raise ValueError(f"unknown deveil model {name!r}; choose from {', '.join(DEVEIL_VARIANTS)}")
    return DEVEIL_VARIANTS[name]
