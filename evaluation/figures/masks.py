"""How much the derainer relies on its rain mask R, and how right R is: Tables 10 to 12."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from evaluation.datasets.photos import Loader
from evaluation.figures.rainy_photos import (
    KINDS,
    Grid,
    mean_scores,
    new_figure,
    put_rain_on,
    score,
    to_8_bits,
)
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.models import Jorder
from jorder_preproc.rain.identity import rain_generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mask = NDArray[np.bool_]

_LARGEST_SIDE = 1024  # larger windows might be cut into tiles, which see other parts of R


def invert(mask: Mask, share: float, rng: np.random.Generator) -> Mask:
    """The mask with that share of all its pixels, chosen at random, inverted (Table 10)."""
    changed = mask.copy()
    at = rng.choice(mask.size, round(share * mask.size), replace=False)
    changed.flat[at] = ~changed.flat[at]
    return changed


def dilate(mask: Mask, share: float, rng: np.random.Generator) -> Mask:
    """The mask larger by that share of its area (Tables 11 and 12).

    Pixels that touch it, corners too, are added ring by ring, those of the last ring chosen
    at random. An empty mask stays empty.
    """
    return _grow(mask, round(share * int(mask.sum())), rng)


def erode(mask: Mask, share: float, rng: np.random.Generator) -> Mask:
    """The mask smaller by that share of its area; see `dilate`."""
    return ~_grow(~mask, round(share * int(mask.sum())), rng)


def _grow(mask: Mask, count: int, rng: np.random.Generator) -> Mask:
    grown = mask.copy()
    while count:
        padded = np.pad(grown, 1)
        height, width = mask.shape
        near = np.zeros_like(mask)
        for row in range(3):
            for column in range(3):
                near |= padded[row : row + height, column : column + width]
        ring = np.flatnonzero(near & ~grown)
        if ring.size == 0:  # nothing to grow from, or nowhere to grow to
            break
        if ring.size > count:
            ring = rng.choice(ring, count, replace=False)
        grown.flat[ring] = True
        count -= ring.size
    return grown


class Change(Protocol):
    """Makes a mask wrong."""

    def __call__(self, mask: Mask, *, rng: np.random.Generator) -> Mask: ...


CHANGES: dict[str, Change | None] = {
    "predicted": None,
    "0 %": lambda mask, *, rng: mask,
    **{f"inverted {n} %": partial(invert, share=n / 100) for n in (25, 50)},
    **{f"dilated {n} %": partial(dilate, share=n / 100) for n in (10, 20, 30)},
    **{f"eroded {n} %": partial(erode, share=n / 100) for n in (10, 20, 30)},
}
"""Rows of the table: `predicted` is the network as it is, `0 %` its last R given to all stages."""


@torch.inference_mode()
def detect(network: Jorder, rainy: Tensor) -> Tensor:
    """What the last stage predicts for R, before the softmax: (1, 2, H, W) on its device.

    Args:
        network: predicts R.
        rainy: O, float RGB (3, H, W), in [0, 1]; H, W multiples of `network.multiple`.
    """
    parameter = next(network.parameters())
    logits: Tensor = network(rainy[None].to(parameter))[-1].mask_logits
    return logits


@contextmanager
def mask_in_place(network: Jorder, logits: Tensor) -> Iterator[None]:
    """Let every stage of the network go on with a given R in place of its own.

    The paper changes R before S and B are predicted from it. Here R does two things: in
    every stage it goes into the prediction of B (and, in the paper's order, of S), and its
    probability gates what `derain` changes. The given R does both: hooks on the convolutions
    that end in R put it in the place of what they found; they are gone afterwards.

    Args:
        network: predicts R.
        logits: R before the softmax, as `detect` gives it, for the one picture of this size
            that is derained.

    Raises:
        ValueError: the network predicts no R, or, later, is run on another size.
    """
    if not network.detects_rain:
        raise UserError(f"{network.name} has no R that says where rain is; take another derainer")
    folded = pixel_unshuffle(logits, network.variant.unshuffle)

    def put(given: Tensor, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if output.shape != given.shape:
            raise UserError(
                f"the given R is for features {tuple(given.shape)}, the network has "
                f"{tuple(output.shape)}; derain a picture of the size of R, in one piece"
            )
        return given.to(output)

    handles = []
    for number, stage in enumerate(network.stages):
        # such a stage adds the R of the one before to what it finds (Eq. 8)
        given = torch.zeros_like(folded) if network.variant.residual_stages and number else folded
        head = stage.get_submodule("heads.mask")
        handles.append(head.register_forward_hook(partial(put, given)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def derain_with_mask(network: Jorder, rainy: Tensor, logits: Tensor, mask: Mask) -> Tensor:
    """B where the network is told that R is `mask`.

    Where the mask differs from what the network found, its two logits change places.

    Args:
        network: predicts R.
        rainy: O, float RGB (3, H, W), in [0, 1]; H, W multiples of `network.multiple`.
        logits: what `detect` gives.
        mask: (H, W), true on rain.

    Returns:
        float (3, H, W), in [0, 1].
    """
    found = logits[0, 1] > logits[0, 0]
    differs = found != torch.from_numpy(mask).to(found.device)
    with mask_in_place(network, torch.where(differs, logits.flip(1), logits)):
        return derain(network, rainy).background


def study_masks(
    network: Jorder,
    photographs: Mapping[str, Loader],
    *,
    seed: int = 1,
    advance: Callable[[], object] | None = None,
) -> tuple[Grid, Grid]:
    """Derain with masks that are wrong, and compare those predicted with the truth.

    Photographs are cut on the right and below to sizes that the network takes as they are.

    Args:
        network: predicts R.
        photographs: their names, which the rain depends on, and how to load them.
        seed: of the rain and of the changes.
        advance: called after each photograph of each kind of rain.

    Returns:
        Mean PSNR and SSIM for each of `CHANGES` and kind of rain; and precision, recall, F1
        and IoU of R for each kind, over the pixels of all photographs.

    Raises:
        ValueError: the network predicts no R, or a photograph that cannot be used.
    """
    if not network.detects_rain:
        raise UserError(f"{network.name} has no R that says where rain is; take another derainer")
    scores: dict[tuple[str, str], list[tuple[float, float]]] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    for kind in KINDS:
        for each in put_rain_on(photographs, kind, seed):
            height, width = (
                min(size, _LARGEST_SIDE) // network.multiple * network.multiple
                for size in each.region.shape
            )
            part = (..., slice(height), slice(width))
            clean, rainy = each.clean[part], each.rainy[part]
            if min(height, width) < 16:
                raise UserError(
                    f"{each.name} is {tuple(each.region.shape)}, at least 16 x 16 is needed; "
                    "leave this photograph out"
                )
            logits = detect(network, rainy)
            mask = (logits[0, 1] > logits[0, 0]).cpu().numpy()
            counts[kind] = counts.get(kind, 0) + confusion(mask, each.region[part].numpy())
            for name, change in CHANGES.items():
                if change is None:
                    restored = derain(network, rainy).background
                else:
                    rng = rain_generator(seed, f"{kind} {each.name} {name}")
                    restored = derain_with_mask(network, rainy, logits, change(mask, rng=rng))
                own = score(each.name, to_8_bits(restored), clean)
                scores.setdefault((name, kind), []).append(own)
            if advance is not None:
                advance()
    columns = [f"{kind} {metric}" for kind in KINDS for metric in ("PSNR", "SSIM")]
    return (
        Grid(
            ["mask", *columns],
            [
                [name, *(v for kind in KINDS for v in mean_scores(scores[name, kind]))]
                for name in CHANGES
            ],
            {column: 2 if column.endswith("PSNR") else 4 for column in columns},
            f"Means over {len(photographs)} photographs, on luminance; PSNR in dB.",
        ),
        Grid(
            ["rain", "precision", "recall", "F1", "IoU"],
            [[kind, *detection_scores(counts[kind])] for kind in KINDS],
            dict.fromkeys(("precision", "recall", "F1", "IoU"), 3),
            "R of the last stage against the true R, over all pixels.",
        ),
    )


def confusion(mask: Mask, truth: Mask) -> NDArray[np.int64]:
    """Numbers of pixels: found and there, found alone, there alone."""
    return np.array([(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()])


def detection_scores(counts: NDArray[np.int64]) -> list[float | None]:
    """Precision, recall, F1 and IoU from `confusion`; None where nothing is divided by."""
    both, found, there = map(int, counts)

    def ratio(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return [
        ratio(both, both + found),
        ratio(both, both + there),
        ratio(2 * both, 2 * both + found + there),
        ratio(both, both + found + there),
    ]


def draw_masks(grid: Grid) -> Figure:
    """PSNR of each row less that of `predicted`, kind by kind."""
    figure = new_figure()
    axes = figure.add_subplot()
    reference, *rows = grid.rows
    names = [str(row[0]) for row in rows]
    for number, kind in enumerate(KINDS):
        at = list(grid.columns).index(f"{kind} PSNR")
        loss = [float(row[at] or 0) - float(reference[at] or 0) for row in rows]
        axes.bar([x + (number - 1) * 0.27 for x in range(len(rows))], loss, 0.25, label=kind)
    axes.set_xticks(range(len(names)), names, rotation=20)
    axes.set_ylabel("PSNR against predicted R, dB")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.legend()
    return figure
