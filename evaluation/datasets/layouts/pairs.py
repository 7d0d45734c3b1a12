"""Pairs of rainy and clean images, in the layouts of the restoration benchmarks (Sec. 6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.datasets.layouts.base import (
    LayoutError,
    check_folder,
    check_unique,
    list_folders,
    some,
)
from jorder_preproc.image_files import ImageFileError, list_images, read_size

Half = Literal["left", "right"]
Layout = Literal["folders", "names", "halves"]

RAINY_FOLDERS = ("rainy", "rain", "rainy_image", "input")
CLEAN_FOLDERS = ("norain", "groundtruth", "ground_truth", "target")

_EXPECTED = (
    f"a folder {' or '.join(RAINY_FOLDERS)} beside one of {', '.join(CLEAN_FOLDERS)} or beside "
    "images norain-NAME, or images directly in it: rain-NAME with norain-NAME, or NAME_in with "
    "NAME_GT"
)
_RAINY_PREFIX = re.compile(r"rain(?!streak|region)y?[-_]?", re.I)
_CLEAN_PREFIX = re.compile(r"norain[-_]?", re.I)
_OTHER_LAYER = re.compile(r"rain(streak|region)[-_]?", re.I)  # training labels of Rain100L and H
_RAINY_SUFFIX = re.compile(r"_(in|input|rain|rainy)$", re.I)
_CLEAN_SUFFIX = re.compile(r"_(gt|target|norain|clean)$", re.I)
_SCALE = re.compile(r"x\d$", re.I)  # as in norain-001x2, of the release of Rain200H and L
_VERSION = re.compile(r"_\d+$")  # as in 901_14, the fourteenth rain on 901


@dataclass(frozen=True)
class Pair:
    """A rainy image and its clean one.

    Attributes:
        name: file name of the rainy image.
        rainy: its path.
        clean: path of the clean image.
        clean_half: the clean half, of a file that holds both side by side.
    """

    name: str
    rainy: Path
    clean: Path
    clean_half: Half | None = None


def find_pairs(root: Path, clean_half: Half | None = None) -> tuple[Layout, list[Pair]]:
    """Find the pairs of a restoration benchmark, and check that both images have one size.

    `folders`, two of them: `rainy`, `rain`, `rainy_image` or `input`, and `norain`, `groundtruth`,
    `ground_truth` or `target`. Images belong together by equal names, as `rain-001` and
    `norain-001`, with a scale behind the rainy name (`norain-001x2`, in `rain/X2` for one),
    or with the number of one of several rains (`901_1` and `901_2` of `901`). One way holds
    for the whole set. The clean images may also lie directly in ROOT.

    `names`, in one folder: `rain-001.png` and `norain-001.png`, or `001_in.png` and `001_GT.png`.

    `halves`: images directly in ROOT that hold rain and clean side by side, as Rain800 does.

    Args:
        root: ROOT.
        clean_half: which half is the clean one, where images hold both; not looked at where
            names make pairs.

    Returns:
        The layout, and the pairs in the order of the rainy images' names.
    """
    check_folder(root, _EXPECTED)
    rainy_folders, clean_folders = (
        [folder for folder in list_folders(root) if folder.name.lower() in names]
        for names in (RAINY_FOLDERS, CLEAN_FOLDERS)
    )
    loose = list_images(root)
    layout: Layout = "folders"
    if rainy_folders:
        rainy = _images_of(rainy_folders, root)
        clean = _images_of(clean_folders, root) if clean_folders else loose
        if not clean:
            raise LayoutError(
                f"{root} has {rainy_folders[0].name}, but no clean images; expected {_EXPECTED}"
            )
        pairs = _match(rainy, clean, root)
    else:
        named = _split_names(loose)
        if named is not None:
            layout, pairs = "names", _match(*named, root)
        elif loose and clean_half is not None:
            layout = "halves"
            pairs = [Pair(path.name, path, path, clean_half) for path in loose]
        else:
            raise _no_layout(root, loose)
    _check_sizes(pairs, root)
    return layout, pairs


def _images_of(folders: Sequence[Path], root: Path) -> list[Path]:
    """Images directly in the only one of `folders`, or in its only folder, such as `rain/X2`."""
    if len(folders) > 1:
        names = some(folder.name for folder in folders)
        raise LayoutError(f"{root} has {names}; which one? Leave one there")
    folder = folders[0]
    images, inner = list_images(folder), list_folders(folder)
    if not images and len(inner) == 1:
        images = list_images(inner[0])
    if not images:
        raise LayoutError(f"no images in {folder}; put them directly into it")
    return images


def _split_names(images: Sequence[Path]) -> tuple[list[Path], list[Path]] | None:
    """Rainy and clean images of one folder; None where their names do not tell."""
    images = [path for path in images if not _OTHER_LAYER.match(path.stem)]
    for is_rainy, is_clean in (
        (_RAINY_PREFIX.match, _CLEAN_PREFIX.match),
        (_RAINY_SUFFIX.search, _CLEAN_SUFFIX.search),
    ):
        rainy = [path for path in images if is_rainy(path.stem)]
        clean = [path for path in images if is_clean(path.stem)]
        if rainy and clean:
            # what is neither is reported as a rainy image without counterpart
            return [path for path in images if path not in clean], clean
    return None


def _bare(stem: str) -> str:
    """The name without its rainy or clean marker."""
    for pattern in (_CLEAN_PREFIX, _RAINY_PREFIX):
        if pattern.match(stem):
            return pattern.sub("", stem, count=1)
    return _without_suffix(stem)


def _without_suffix(stem: str) -> str:
    return _CLEAN_SUFFIX.sub("", _RAINY_SUFFIX.sub("", stem))


def _without(pattern: re.Pattern[str]) -> Callable[[str], str]:
    """A function to the bare names of rainy images, which must end as the pattern says."""

    def scene(stem: str) -> str:
        # another name matches nothing
        return pattern.sub("", _bare(stem)) if pattern.search(_bare(stem)) else f"/{stem}"

    return scene


# from rainy and clean names to common ones; the first reading that matches all is used
_READINGS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (lambda stem: stem, lambda stem: stem),
    (_bare, _bare),
    (_without_suffix, _without_suffix),
    (_without(_SCALE), _bare),
    (_without(_VERSION), _bare),
)


def _match(rainy: Sequence[Path], clean: Sequence[Path], root: Path) -> list[Pair]:
    """Match rainy and clean images by the first reading that fits the whole set."""
    check_unique((path.stem for path in rainy), f"{root}, of rainy images,")
    check_unique((path.stem for path in clean), f"{root}, of clean images,")
    unmatched = []
    for rainy_scene, clean_scene in _READINGS:
        scenes = {clean_scene(path.stem): path for path in clean}
        pairs = [
            Pair(path.name, path, scenes[rainy_scene(path.stem)])
            for path in rainy
            if rainy_scene(path.stem) in scenes
        ]
        found = {path for pair in pairs for path in (pair.rainy, pair.clean)}
        alone = [[path for path in kind if path not in found] for kind in (rainy, clean)]
        if not any(alone):
            return pairs
        unmatched.append(alone)
    rainy, clean = min(unmatched, key=lambda alone: len(alone[0]) + len(alone[1]))
    lacking = [
        f"{len(paths)} {kind} images have no {other} one: "
        + some(path.relative_to(root).as_posix() for path in paths)
        for kind, other, paths in (("rainy", "clean", rainy), ("clean", "rainy", clean))
        if paths
    ]
    raise LayoutError(f"{root}: {'; '.join(lacking)}; add what is missing, or remove these")


def _no_layout(root: Path, loose: Sequence[Path]) -> LayoutError:
    hint = ""
    if loose:
        hint = (
            f". It holds {len(loose)} images, {some(path.name for path in loose)}: if each is "
            "a rainy and a clean image side by side, say which half is the clean one "
            "(--clean-half left or right)"
        )
    return LayoutError(f"{root} is laid out like no known benchmark; expected {_EXPECTED}{hint}")


def _check_sizes(pairs: Iterable[Pair], root: Path) -> None:
    damaged, different = [], []
    for pair in pairs:
        try:
            rainy, clean = read_size(pair.rainy), read_size(pair.clean)
        except (OSError, ImageFileError) as error:
            damaged.append(f"{pair.name} ({error})")
            continue
        if pair.clean_half is not None and rainy[0] % 2:
            different.append(f"{pair.name} (two halves in a width of {rainy[0]} px)")
        elif rainy != clean:
            sizes = " and ".join(f"{width} x {height}" for width, height in (rainy, clean))
            different.append(f"{pair.name} ({sizes} px)")
    if damaged:
        raise LayoutError(
            f"{root}: {len(damaged)} pairs cannot be read: {some(damaged)}; replace or repair them"
        )
    if different:
        raise LayoutError(
            f"{root}: {len(different)} pairs are of different sizes: {some(different)}; a rainy "
            "image and its clean one must show the same pixels"
        )
