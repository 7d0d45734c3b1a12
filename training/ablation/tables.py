"""The paper's tables of ablations: their rows and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.ablation.networks import RECURRENCES


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: the paper's.
        psnr, ssim: that the paper gives, in dB and [0, 1]: on the first of the table's data sets.
        network: key of `NETWORKS`; the name if it is left out.
    """

    name: str
    psnr: tuple[float, ...] = ()
    ssim: tuple[float, ...] = ()
    network: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", self.network or self.name)


@dataclass(frozen=True)
class Table:
    """One of the paper's tables.

    Attributes:
        title: what it compares.
        sets: the paper's data sets.
        rows: in the paper's order.
        notes: how the paper was read, and where it misprints.
        where: place in the paper, if that is not the table of this number.
    """

    title: str
    sets: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    where: str | None = None


# data sets of the paper, in the order of its tables
_FOUR = ("Rain12", "Rain100L", "Rain100H", "Rain800")
_20L_100 = ("Rain20L", "Rain100L", "Rain100H")

TABLES: dict[int, Table] = {
    1: Table(
        "Methods that the paper trains",
        _FOUR,
        [
            Row("SRCNN", (34.41, 32.63, 18.29, 25.10), (0.9421, 0.9392, 0.6124, 0.8232)),
            Row("DetailNet", (35.31, 33.50, 20.12, 25.22), (0.9485, 0.9444, 0.6351, 0.8228)),
            Row("JORDER-", (35.86, 35.41, 20.79, 25.61), (0.9534, 0.9632, 0.5978, 0.8378), "RSB"),
            Row("JORDER", (36.02, 36.11, 22.15, 26.03), (0.9612, 0.9741, 0.6736, 0.8501), "RSBD"),
            Row("JORDER-R", (36.21, 36.62, 23.45, 26.73), (0.9644, 0.9820, 0.7490, 0.8683)),
            Row("JORDER-E", (36.14, 37.10, 24.54, 27.08), (0.9593, 0.9795, 0.8024, 0.8716), "L1"),
        ],
        [
            "SRCNN and DetailNet have the sizes of their papers, whatever C and K.",
            "The paper's table calls two rows JORDER-R; the first one is JORDER-.",
        ],
        where="Tables 1 and 2",
    ),
    6: Table(
        "Order of prediction",
        _20L_100[:1],
        [
            Row("RSB", (34.66,), (0.9622,)),
            Row("PAR", (34.63,), (0.9624,)),
            Row("SRB", (34.28,), (0.9593,)),
            Row("RAW", (33.94,), (0.9576,)),
            Row("RAW, as deep as RSB", network="RAW-deep"),
        ],
        [
            "RAW has four layers: the first, two of one block, the last. The row below it is "
            "ours: B alone from as many blocks as the other rows have.",
        ],
    ),
    7: Table(
        "Contextualized dilated convolution and order of prediction",
        _20L_100,
        [
            Row("PAR", (34.63,), (0.9624,)),
            Row("PARD", (35.06,), (0.9655,)),
            Row("RSB", (34.66, 35.41, 20.79), (0.9622, 0.9632, 0.5978)),
            Row("RSBD", (35.16, 36.11, 22.15), (0.966, 0.9711, 0.6736)),
        ],
        [
            "On Rain100L and Rain100H the paper calls RSB and RSBD, of 10 layers, JORDER- and "
            "JORDER.",
            "The SSIM 0.9711 of JORDER on Rain100L is 0.9741 in the paper's other tables.",
        ],
    ),
    8: Table(
        "Contextualized dilated convolution (CDC): none, parallel, sequential",
        _FOUR[1:],
        [
            Row("w/o CDC", (35.41, 20.79, 25.61), (0.9632, 0.5978, 0.8378), "RSB"),
            Row("CDC (parallel)", (36.11, 22.15, 26.03), (0.9741, 0.6736, 0.8501), "RSBD"),
            Row("CDC (sequential)", (36.37, 22.45, 26.23), (0.9767, 0.6972, 0.8575), "sequential"),
        ],
        ["The sequential network chains the paths of every block: as many convolutions."],
    ),
    9: Table(
        "What widens the context: dilation, pooling (JPS) or strides (JST)",
        _FOUR,
        [
            Row("JORDER-", (35.86, 35.41, 20.79, 25.61), (0.9534, 0.9632, 0.5978, 0.8378), "RSB"),
            Row("JPS", (35.62, 35.11, 20.53, 25.42), (0.9511, 0.9584, 0.5682, 0.8212)),
            Row("JST", (35.93, 35.82, 21.67, 25.77), (0.9589, 0.9764, 0.6713, 0.8519)),
            Row("JORDER", (36.02, 36.11, 22.15, 26.03), (0.9644, 0.9820, 0.7490, 0.8683), "RSBD"),
        ],
        [
            "The SSIM printed for JORDER is that of JORDER-R; Table 8 has 0.9741, 0.6736 and "
            "0.8501 on Rain100L, Rain100H and Rain800.",
            "The kernels of JST, which the paper does not give, reach as far as the dilated "
            "ones; that takes more weights.",
        ],
    ),
    13: Table(
        "Improvements on JORDER-R, each with those above it",
        _20L_100[2:],
        [
            Row("JORDER-R", (23.45,), (0.7490,)),
            Row("RTL", (24.39,), (0.7992,)),
            Row("CF-MSL", (24.43,), (0.7987,)),
            Row("L1", (24.54,), (0.8024,)),
        ],
    ),
    21: Table(
        "Number K of contextualized dilated convolutions",
        (),
        [Row(f"K = {blocks}", network=f"K{blocks}") for blocks in RECURRENCES],
        [
            "The networks are L1 of Table 13 with other numbers of blocks; the setting K is not "
            "used.",
            "The paper draws curves, without numbers, that are flat from K = 9 on.",
        ],
        where="Figs. 21 and 22",
    ),
}
