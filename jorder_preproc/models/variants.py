"""The networks of the paper and of the authors' release as rows of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from jorder_preproc.errors import UserError

PathDilations = tuple[int, int]
Widening = Literal["dilate", "pool", "stride"]


@dataclass(frozen=True, kw_only=True)
class ContextVariant:
    """Parameters of a context network (Sec. 4.2).

    Attributes:
        channels: C, features.
        blocks: K, recurrences.
        paths: dilations of the two 3x3 convolutions of each path.
        context: `parallel` sums all paths in every block (Fig. 3); `sequential`
            chains them, block k holding path k mod len(paths) (Table 8);
            `encoder_decoder` has gated blocks at several resolutions in place of paths
            (see `EncoderDecoder`), `blocks` of them at the coarsest.
        levels: how often an encoder-decoder halves the resolution and doubles `channels`.
        outer_blocks: blocks of its encoder, and of its decoder, at each resolution but the
            coarsest.
        block: `paper` adds the paths before the ReLU (Sec. 4.2); `release` adds
            them after it, all but the first with weight 0.1.
        widening: how a path of dilations (d, d) widens its receptive field: `dilate` its
            convolutions; `pool` by d before them and up-sample after them (JPS of Table 9);
            `stride` by d in the first, the second transposed (JST).

    Raises:
        ValueError: two dilations in a path that does not dilate.
    """

    channels: int
    blocks: int
    paths: tuple[PathDilations, ...] = ((1, 1), (2, 2), (3, 3))
    context: Literal["parallel", "sequential", "encoder_decoder"] = "parallel"
    levels: int = 0
    outer_blocks: int = 0
    block: Literal["paper", "release"] = "paper"
    widening: Widening = "dilate"

    def __post_init__(self) -> None:
        if self.widening != "dilate" and any(first != second for first, second in self.paths):
            raise ValueError(
                f"widening={self.widening!r} needs paths of two equal numbers, got {self.paths}"
            )

    @property
    def context_reach(self) -> int:
        """Cells to each side that one cell of F depends on at most."""
        if self.context == "encoder_decoder":
            coarsest = 1 << self.levels
            # each outer block of encoder and decoder reaches one cell; the last term is for the
            # halving: a feature and its neighbours share one cell
            outer = 2 * self.outer_blocks * (coarsest - 1)
            return outer + self.blocks * coarsest + coarsest - 1
        reaches = [_path_reach(path, self.widening) for path in self.paths]
        if self.context == "parallel":
            return self.blocks * max(reaches)
        return sum(reaches[k % len(reaches)] for k in range(self.blocks))

    @property
    def context_multiple(self) -> int:
        """Tile origins must be multiples of this, in cells of F, to match whole-image output."""
        if self.context == "encoder_decoder":
            return int(2**self.levels)
        if self.widening == "dilate":
            return 1
        return math.lcm(*(factor for factor, _ in self.paths))


def _path_reach(path: PathDilations, widening: Widening) -> int:
    if widening != "pool":
        # a kernel of 2d + 1 reaches as far as one of 3 dilated by d: see `context.py`
        return sum(path)
    factor, _ = path
    # two cells for the convolutions and one for the interpolation, counted from any pixel of
    # the own cell; in its far half the interpolation takes the cell of the other side
    return 3 * factor + factor // 2 - 1


@dataclass(frozen=True, kw_only=True)
class Variant(ContextVariant):
    """Parameters of a JORDER network besides those of its context network.

    Attributes:
        stages: tau, recurrences of joint detection and removal (Sec. 5.1).
        fusion: `concat` predicts R, S, B in `order` from F and the earlier
            estimates (Sec. 4.1); `modulate` scales and shifts F by features of R
            and S, as the authors' release does.
        order: of `concat` (Fig. 16, Table 6): `rsb` R, S, B; `srb` S, R, B; `par` R and S
            in parallel, then B; `raw` B alone, so that the network has no R and S.
        residual_stages: stages after the first refine R, S and the features of
            the stage before (residual task learning, Eq. 8) instead of starting
            again from its background.
        unshuffle: factor by which the input is folded into channels; 1 is none.
        head_channels: hidden channels of the R and S heads (`modulate` only).
        fusion_kernel: kernel size of the modulation convolutions.
        cues: number of cues of the whole image that scale the channels of an encoder-decoder
            (see `ImageCues`); 0 is none.

    Raises:
        ValueError: an order for heads that have none.
    """

    stages: int
    fusion: Literal["concat", "modulate"] = "concat"
    order: Literal["rsb", "par", "srb", "raw"] = "rsb"
    residual_stages: bool = False
    unshuffle: int = 1
    head_channels: int = 8
    fusion_kernel: int = 3
    cues: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion == "modulate" and self.order != "rsb":
            raise ValueError(f"order={self.order!r} needs fusion='concat', got 'modulate'")

    @property
    def head_reach(self) -> int:
        """Cells of F to each side that one cell of R, S and B depends on at most."""
        if self.fusion == "modulate":
            return 2 + 2 * (self.fusion_kernel // 2) + 2
        return {"rsb": 3, "srb": 3, "par": 2, "raw": 1}[self.order]


@dataclass(frozen=True, kw_only=True)
class NamedVariant(Variant):
    """A row of the table: a network, and what it costs.

    Attributes:
        parameters: number of weights and biases.
        macs_per_pixel: multiply-accumulates per input pixel.

    Both follow from the other fields: `tests/models/test_variants.py` counts them, and prints
    them after a change. Networks outside the table are a `Variant`.
    """

    parameters: int
    macs_per_pixel: int


@dataclass(frozen=True, kw_only=True)
class DeveilVariant(ContextVariant):
    """Parameters of a deveil network besides those of its context network (Sec. 5.2).

    Attributes:
        overview_px: longer side of the overview, the downscaled image that the network sees;
            smaller images are not scaled.
        cell_px: side of a cell of the overview, for which alpha is estimated.
        unshuffle: averages per side of a cell; divides cell_px.
        parameters: number of weights and biases.
        macs_per_cell: multiply-accumulates of the convolutions.
    """

    overview_px: int
    cell_px: int
    unshuffle: int
    parameters: int
    macs_per_cell: int


_RELEASE: dict[str, Any] = dict(
    stages=2,
    paths=((1, 1), (2, 2), (2, 4)),
    block="release",
    fusion="modulate",
    residual_stages=True,
)

VARIANTS: dict[str, NamedVariant] = {
    "jorder_minus": NamedVariant(
        channels=64, blocks=9, stages=1, paths=((1, 1),), parameters=671_301, macs_per_pixel=670_077
    ),
    "jorder": NamedVariant(
        channels=64, blocks=9, stages=1, parameters=2_000_709, macs_per_pixel=1_997_181
    ),
    "jorder_r": NamedVariant(
        channels=64, blocks=9, stages=2, parameters=4_001_418, macs_per_pixel=3_994_362
    ),
    "jorder_e": NamedVariant(
        channels=64, blocks=9, **_RELEASE, parameters=4_169_024, macs_per_pixel=4_161_168
    ),
    "jorder_e_practical": NamedVariant(
        channels=32, blocks=3, **_RELEASE, parameters=406_784, macs_per_pixel=405_072
    ),
    "jorder_e_lite": NamedVariant(
        channels=32,
        blocks=8,
        stages=1,
        context="encoder_decoder",
        levels=2,
        outer_blocks=2,
        block="release",
        fusion="modulate",
        unshuffle=2,
        head_channels=12,
        fusion_kernel=1,
        cues=64,
        parameters=1_327_977,
        macs_per_pixel=38_964,
    ),
}

DEVEIL_VARIANTS: dict[str, DeveilVariant] = {
    "jorder_deveil_lite": DeveilVariant(
        channels=64,
        blocks=6,
        paths=((1, 1), (1, 2), (1, 4)),
        context="sequential",
        block="release",
        overview_px=512,
        cell_px=16,
        unshuffle=4,
        parameters=550_786,
        macs_per_cell=533_376,
    ),
}


def list_models() -> list[str]:
    """Names that `build_model` and `load_model` take, in order of the paper."""
    return list(VARIANTS)


def get_variant(name: str) -> NamedVariant:
    """Row `name` of the table; ValueError if there is none."""
    if name not in VARIANTS:
        raise UserError(f"unknown model {name!r}; choose from {', '.join(VARIANTS)}")
    return VARIANTS[name]


def list_deveil_models() -> list[str]:
    """Names that `DeveilNetwork` and `load_deveil_model` take."""
    return list(DEVEIL_VARIANTS)


def get_deveil_variant(name: str) -> DeveilVariant:
    """Row `name` of the table of deveil networks; ValueError if there is none."""
    if name not in DEVEIL_VARIANTS:
        raise UserError(f"unknown deveil model {name!r}; choose from {', '.join(DEVEIL_VARIANTS)}")
    return DEVEIL_VARIANTS[name]
