"""The ImageNet validation set, or a set like it, in its three common layouts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scipy.io import loadmat

from evaluation.datasets.layouts.base import (
    LayoutError,
    check_folder,
    check_unique,
    list_folders,
    read_lines,
    some,
)
from evaluation.datasets.layouts.classes import (
    WNID,
    ClassList,
    check_outputs,
    read_class_list,
    sorted_classes,
)
from jorder_preproc.image_files import list_images

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"

_GROUND_TRUTH_FOLDERS = ("", "data", "ILSVRC2012_devkit_t12/data")
_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})")
_BOX = r"(?:\s+\d+){4}"
# a name and its class; in Kaggle's LOC_val_solution.csv with a box, once for each object
_LABELLED = re.compile(rf"(?P<name>\S+)\s+(?P<label>\S+)(?:{_BOX}(?:\s+(?P=label){_BOX})*)?")


@dataclass(frozen=True)
class ImageList:
    """Labelled images.

    Attributes:
        root: the folder the paths start from.
        paths: of the images, relative, with `/`, in the order of the data set.
        targets: number of the class of each, in [0, C).
        class_list: of the model.
        layout: `folders`, `map` or `devkit`.
    """

    root: Path
    paths: tuple[str, ...]
    targets: tuple[int, ...]
    class_list: ClassList
    layout: str


def list_imagenet(
    root: str | Path,
    labels: str | Path | None = None,
    classes: str | Path | None = None,
    outputs: int | None = None,
) -> ImageList:
    """Find images and their classes in one of three layouts.

    - `folders`: ROOT/<class>/*.JPEG.
    - `map`: images directly in ROOT, and `labels` with lines `name class`, split by blanks or
      a comma; the class is a wnid, a name of the class list, or its number from 0. Kaggle's
      LOC_val_solution.csv is such a map.
    - `devkit`: ROOT/ILSVRC2012_val_*.JPEG, and the ground truth of the development kit, one
      number per line, with `meta.mat` beside it. Its numbers are not in the order of the
      wnids. It is looked for in ROOT, ROOT/data and ROOT/ILSVRC2012_devkit_t12/data, or is
      what `labels` points to.

    ROOT may also be the folder that holds `val`. Classes are numbered in sorted order; a
    class list, which is `classes` or a file `classes.txt` in ROOT or beside `val`, numbers
    them by its lines and may name more than the images have.

    Args:
        root: ROOT.
        labels: a map file, or the ground truth of the development kit.
        classes: a class list: one wnid or name per line, then perhaps a description.
        outputs: number of classes the model knows.
    """
    root = image_folder(root)
    home = root.parent if root.name == "val" else root
    classes = classes or _first_file(folder / "classes.txt" for folder in (root, home))
    class_list = None if classes is None else read_class_list(Path(classes))
    images = list_images(root)
    if labels is None and images:
        labels = _first_file(
            base / folder / GROUND_TRUTH
            for base in (root, home)
            for folder in _GROUND_TRUTH_FOLDERS
        )
    if labels is not None:
        found = _list_flat(root, images, Path(labels), class_list, outputs)
    else:
        found = _list_class_folders(root, images, class_list)
    check_outputs(found.class_list, outputs)
    return found


def image_folder(root: str | Path) -> Path:
    """The folder of the images: ROOT, or `val` in it."""
    root = Path(root)
    check_folder(root, "the images of ImageNet's validation set")
    return root / "val" if (root / "val").is_dir() else root


def _first_file(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _list_class_folders(root: Path, loose: list[Path], class_list: ClassList | None) -> ImageList:
    if loose:
        raise LayoutError(
            f"{root} holds images directly in it ({some(path.name for path in loose)}), but "
            "no labels; pass a file with lines `name class` (--labels), put "
            f"{GROUND_TRUTH} beside them, or sort them into one folder for each class"
        )
    content = {folder: list_images(folder) for folder in list_folders(root)}
    if not any(content.values()):
        raise LayoutError(
            f"no images in {root}; expected ROOT/<class>/*.JPEG, or ROOT/*.JPEG with a map"
        )
    if class_list is None:
        class_list = sorted_classes([folder.name for folder in content], root)
    paths, targets = [], []
    for folder, images in content.items():
        target = class_list.index(folder.name, f"the folder {folder}")
        paths += [f"{folder.name}/{path.name}" for path in images]
        targets += [target] * len(images)
    return ImageList(root, tuple(paths), tuple(targets), class_list, "folders")


def _list_flat(
    root: Path, images: list[Path], labels: Path, class_list: ClassList | None, outputs: int | None
) -> ImageList:
    if not images:
        raise LayoutError(
            f"no images directly in {root}, where {labels} gives their classes; "
            "without --labels, folders are taken as classes"
        )
    paths = [path.name for path in images]
    lines = read_lines(labels)
    if all(line.isdecimal() for line in lines):
        wnids = _devkit_wnids(paths, [int(line) for line in lines], labels)
        if class_list is None:
            class_list = sorted_classes(list(_read_meta(labels).values()), labels)
        targets = [class_list.index(wnid, str(labels)) for wnid in wnids]
        return ImageList(root, tuple(paths), tuple(targets), class_list, "devkit")
    found = _read_map(labels, lines, paths, class_list)
    class_list, targets = _number(found, labels, class_list, outputs)
    return ImageList(root, tuple(paths), tuple(targets), class_list, "map")


def _read_map(
    labels: Path, lines: list[str], paths: list[str], class_list: ClassList | None
) -> list[str]:
    """The class of each image, as named in a map."""
    check_unique((Path(path).stem for path in paths), "the folder of the images")
    by_name = {Path(path).stem: path for path in paths} | {path: path for path in paths}
    found: dict[str, str] = {}
    without_image = []
    for number, line in enumerate(lines, 1):
        text = line.replace(",", " ")
        match = _LABELLED.fullmatch(text)
        if match is None:
            raise LayoutError(f"{labels}, line {number}: expected `name class`, got {line!r}")
        name, label = match["name"], match["label"]
        if number == 1 and name not in by_name and not _is_class(label, class_list):
            continue  # a heading
        path = by_name.get(name)
        if path is None:
            without_image.append(name)
        elif path in found:
            raise LayoutError(f"{labels}, line {number}: {name} has a class already")
        else:
            found[path] = label
    if without_image:
        raise LayoutError(
            f"{labels} names {len(without_image)} images that are not there: "
            f"{some(without_image)}; add the images, or remove the lines"
        )
    unlabelled = [path for path in paths if path not in found]
    if unlabelled:
        raise LayoutError(f"{labels} has no class for {len(unlabelled)} images: {some(unlabelled)}")
    return [found[path] for path in paths]


def _is_class(label: str, class_list: ClassList | None) -> bool:
    known = class_list is not None and label in class_list.classes
    return known or label.isdecimal() or WNID.fullmatch(label) is not None


def _number(
    found: list[str], labels: Path, class_list: ClassList | None, outputs: int | None
) -> tuple[ClassList, list[int]]:
    """The class list, and the class number of each image."""
    named = class_list is not None and set(found) <= set(class_list.classes)
    if named or not all(label.isdecimal() for label in found):
        if class_list is None:
            odd = {label for label in found if not WNID.fullmatch(label)}
            if odd:
                raise LayoutError(
                    f"{labels} names the classes {some(odd)}, which are no wnids; pass a file "
                    "with all classes in the order of the model's outputs (--classes)"
                )
            class_list = sorted_classes(found, labels)
        return class_list, [class_list.index(label, str(labels)) for label in found]
    targets = [int(label) for label in found]
    if class_list is None:
        if outputs is None:
            raise LayoutError(
                f"{labels} numbers the classes, but nothing says how many there are; pass a "
                "file with all classes in the order of the model's outputs (--classes)"
            )
        numbers = tuple(str(index) for index in range(outputs))
        class_list = ClassList(numbers, numbers, "the model")
    count = len(class_list.classes)
    if max(targets) >= count:
        hint = ""
        if max(targets) == count and min(targets) > 0:
            hint = (
                "; they seem to start from 1. Are they the development kit's? Its order is not "
                "that of the wnids: use the kit itself, or a map of wnids"
            )
        raise LayoutError(
            f"{labels} has class number {max(targets)}, but there are {count} classes, "
            f"numbered from 0{hint}"
        )
    return class_list, targets


def _devkit_wnids(paths: list[str], numbers: list[int], ground_truth: Path) -> list[str]:
    """Wnids of images whose names hold their line number in the ground truth."""
    lines = []
    for path in paths:
        match = _NUMBERED.fullmatch(Path(path).stem)
        if match is None:
            raise LayoutError(
                f"{path} is not named ILSVRC2012_val_<number>, so that {ground_truth} does not "
                "give its class"
            )
        lines.append(int(match[1]))
    if lines != list(range(1, len(numbers) + 1)):
        missing = set(range(1, len(numbers) + 1)).symmetric_difference(lines)
        stems = [f"ILSVRC2012_val_{line:08}" for line in missing]
        raise LayoutError(
            f"{ground_truth} has {len(numbers)} lines, and there are {len(lines)} images; "
            f"without counterpart, or twice: {some(stems) or 'images with two suffixes'}. For a "
            "part of the set pass a map with lines `name wnid` (--labels)"
        )
    wnids = _read_meta(ground_truth)
    unknown = {str(number) for number in numbers if number not in wnids}
    if unknown:
        raise LayoutError(
            f"{ground_truth} has the numbers {some(unknown)}, which meta.mat gives no class; "
            "the two are not of the same development kit"
        )
    return [wnids[number] for number in numbers]


def _read_meta(ground_truth: Path) -> dict[int, str]:
    """Wnids of the development kit's numbers, from the meta.mat beside the ground truth."""
    path = ground_truth.with_name("meta.mat")
    instead = "or pass a map with lines `name wnid` (--labels)"
    if not path.is_file():
        raise LayoutError(
            f"no {path}, which says what the numbers of {ground_truth.name} mean; put the "
            f"development kit's there, {instead}"
        )
    try:
        synsets = loadmat(path, squeeze_me=True)["synsets"]
        rows = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], synsets["num_children"], strict=True)
        # inner nodes of the hierarchy are listed too
        return {int(number): str(wnid) for number, wnid, children in rows if not children}
    except Exception as error:  # SciPy raises many kinds on files that are something else
        raise LayoutError(f"{path} is not the development kit's ({error!r}); {instead}") from error
