"""Deraining with wrong rain masks R, and the accuracy of the predicted ones: Tables 10 to 12."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from evaluation.datasets.photos import Loader
from evaluation.figures.drawing import new_figure
from evaluation.report.grid import Grid
from evaluation.restoration.scores import KINDS, Scores, add_rain_to_all, grid_by_kind, score
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.models import Jorder
from jorder_preproc.models.strips import whole_features
from jorder_preproc.rain.identity import rain_generator

Mask = NDArray[np.bool_]

_DETECTION = ("precision", "recall", "F1", "IoU")
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
        ring = np.flatnonzero(binary_dilation(grown, np.ones((3, 3))) & ~grown)
        if ring.size == 0:  # nothing to grow from, or nowhere to grow to
            break
        if ring.size > count:
            ring = rng.choice(ring, count, replace=False)
        grown.flat[ring] = True
        count -= ring.size
    return grown


CHANGES: dict[str, Callable[..., Mask] | None] = {
    "predicted": None,
    "0 %": lambda mask, rng: mask,
    **{f"inverted {n} %": partial(invert, share=n / 100) for n in (25, 50)},
    **{f"dilated {n} %": partial(dilate, share=n / 100) for n in (10, 20, 30)},
    **{f"eroded {n} %": partial(erode, share=n / 100) for n in (10, 20, 30)},
}
"""Rows of the table: `predicted` is the network as it is, `0 %` its last R given to all stages."""


@torch.inference_mode()
def detect(network: Jorder, rainy: Tensor) -> Tensor:
    """Logits of R of the last stage, (1, 2, H, W), on the network's device.

    Args:
        network: predicts R.
        rainy: O, float RGB (3, H, W), in [0, 1]; H, W multiples of `network.fold`.
    """
    parameter = next(network.parameters())
    logits: Tensor = network(rainy[None].to(parameter))[-1].mask_logits
    return logits


@contextmanager
def mask_in_place(network: Jorder, logits: Tensor) -> Iterator[None]:
    """Replace the R of every stage of the network by a given one.

    The paper changes R before S and B are predicted from it. Here R has two uses: in every
    stage B (and, in the paper's order, S) is predicted from it, and its probability gates
    what `derain` changes. The given R replaces the predicted one in both, by hooks on the
    convolutions that predict R; they are removed afterwards.

    Args:
        network: predicts R.
        logits: R before the softmax, as `detect` gives it, of the image to derain.

    Raises:
        UserError: later, where the network is run on another size.
    """
    folded = pixel_unshuffle(logits, network.variant.unshuffle)

    def put(given: Tensor, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if output.shape != given.shape:
            raise UserError(
                f"the given R is for features {tuple(given.shape)}, the network has "
                f"{tuple(output.shape)}; derain an image of the size of R, in one piece"
            )
        return given.to(output)

    with ExitStack() as hooks:
        hooks.enter_context(whole_features())
        for number, stage in enumerate(network.stages):
            # a residual stage adds the R of the one before (Eq. 8)
            residual = network.variant.residual_stages and number
            given = torch.zeros_like(folded) if residual else folded
            head = stage.get_submodule("heads.mask")
            hooks.enter_context(head.register_forward_hook(partial(put, given)))
        yield


def derain_with_mask(network: Jorder, rainy: Tensor, logits: Tensor, mask: Mask) -> Tensor:
    """B where the network is told that R is `mask`.

    Where the mask differs from what the network found, its two logits change places.

    Args:
        network: predicts R.
        rainy: O, float RGB (3, H, W), in [0, 1]; H, W multiples of `network.fold`.
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
    network: Jorder, photographs: Mapping[str, Loader], seed: int = 1
) -> tuple[Grid, Grid]:
    """Derain with wrong masks, and compare the predicted ones with the target.

    Photographs are cut on the right and below to sizes that the network takes as they are. The
    changes of the masks depend on the seed, too.

    Returns:
        Mean PSNR and SSIM for each of `CHANGES` and kind of rain; and precision, recall, F1
        and IoU of R for each kind, over the pixels of all photographs.

    Raises:
        UserError: the network predicts no R.
    """
    if not network.detects_rain:
        raise UserError(f"the R of {network.name} does not mean rain; choose another derainer")
    scores: dict[str, dict[str, list[Scores]]] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    for kind in KINDS:
        for each in add_rain_to_all(photographs, kind, seed):
            height, width = (
                min(size, _LARGEST_SIDE) // network.fold * network.fold
                for size in each.region.shape
            )
            part = (..., slice(height), slice(width))
            clean, rainy = each.clean[part], each.rainy[part]
            if min(height, width) < 16:
                raise UserError(
                    f"{each.name} is {tuple(each.region.shape)}, at least 16 x 16 is needed; "
                    "leave this image out"
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
                own = score(each.name, restored, clean)
                scores.setdefault(name, {}).setdefault(kind, []).append(own)
    detected = Grid(
        ["rain", *_DETECTION],
        [[kind, *detection_scores(counts[kind])] for kind in KINDS],
        dict.fromkeys(_DETECTION, 3),
        "R of the last stage against the true R, over all pixels.",
    )
    return grid_by_kind("mask", scores), detected


def confusion(mask: Mask, target: Mask) -> NDArray[np.int64]:
    """Numbers of true-positive, false-positive and false-negative pixels."""
    return np.array([(mask & target).sum(), (mask & ~target).sum(), (~mask & target).sum()])


def detection_scores(counts: NDArray[np.int64]) -> list[float | None]:
    """Precision, recall, F1 and IoU from `confusion`; None where undefined."""
    hits, false, missed = map(int, counts)
    shares = (
        (hits, hits + false),
        (hits, hits + missed),
        (2 * hits, 2 * hits + false + missed),
        (hits, hits + false + missed),
    )
    return [part / whole if whole else None for part, whole in shares]


def draw_masks(grid: Grid) -> Figure:
    """PSNR of each row minus that of `predicted`, for each kind of rain."""
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
