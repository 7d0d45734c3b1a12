"""Sets of rainy and clean images: folders, or small built-in ones that need no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from evaluation.datasets.layouts.pairs import Half, Pair, find_pairs
from evaluation.datasets.photos import Loader, built_in_photographs
from evaluation.datasets.subsets import spread
from evaluation.restoration.scores import add_rain
from jorder_preproc.errors import UserError
from jorder_preproc.image_files import read_rgb

PairLoader = Callable[[], tuple[Tensor, Tensor]]
"""Gives O and B, float RGB (3, H, W), in [0, 1]."""

BUILT_IN = {"mini-L": "light", "mini-H": "heavy", "mini-800": "rain800"}
"""Built-in sets and the preset of their rain: kinds like Rain100L's, Rain100H's and Rain800's."""

_SEED = 1


@dataclass(frozen=True)
class PairSet:
    """Pairs to score.

    Attributes:
        name: in tables.
        layout: see `find_pairs`, or `built-in`.
        total: number of its pairs.
        pairs: loaders of those to use, by the name of the image.
    """

    name: str
    layout: str
    total: int
    pairs: Mapping[str, PairLoader]


def open_sets(
    given: Sequence[str], clean_half: Half | None = None, limit: int | None = None
) -> list[PairSet]:
    """Open the sets that a user names.

    Args:
        given: folders, `NAME=FOLDER`, or names of built-in sets; empty takes all of these.
        clean_half: see `find_pairs`.
        limit: at most so many pairs of each, evenly spread.

    Raises:
        ValueError: a folder that cannot be used, two sets of one name, or a `clean_half`
            that no set needs.
    """
    sets = []
    for text in given or BUILT_IN:
        layout: str
        pairs: dict[str, PairLoader]
        if text in BUILT_IN:
            name, layout = text, "built-in"
            pairs = {
                photograph: partial(_rain_pair, photograph, load, BUILT_IN[name])
                for photograph, load in built_in_photographs().items()
            }
        else:
            name, _, folder = ("", "", text) if Path(text).is_dir() else text.rpartition("=")
            name = name or Path(folder).resolve().name
            layout, found = find_pairs(Path(folder), clean_half)
            pairs = {pair.name: partial(_read_pair, pair) for pair in found}
        used = dict(spread(list(pairs.items()), limit))
        sets.append(PairSet(name, layout, len(pairs), used))
    names = [each.name for each in sets]
    if len(set(names)) < len(names):
        raise UserError(f"two sets have one name, of {', '.join(names)}; give one as NAME=FOLDER")
    if clean_half is not None and all(each.layout != "halves" for each in sets):
        raise UserError(
            "--clean-half is for images that hold a rainy and a clean half; none of the sets "
            "has them: leave it out"
        )
    return sets


def _rain_pair(name: str, load: Loader, preset: str) -> tuple[Tensor, Tensor]:
    image = add_rain(name, load(), preset, _SEED)
    return image.rainy, image.clean


def _read_pair(pair: Pair) -> tuple[Tensor, Tensor]:
    rainy = read_rgb(pair.rainy)
    if pair.clean_half is None:
        return rainy, read_rgb(pair.clean)
    left, right = rainy.chunk(2, dim=-1)
    return (right, left) if pair.clean_half == "left" else (left, right)
