"""The test set of PASCAL VOC 2007, or a set laid out like it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from evaluation.datasets.layouts.base import (
    LayoutError,
    check_folder,
    check_unique,
    read_lines,
    some,
)

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


@dataclass(frozen=True)
class Voc:
    """Images and their annotations.

    Attributes:
        root: the folder that holds `VOC2007`, mmdet's `data_root`.
        names: of the images of the test set, without suffix, in its order.
    """

    root: Path
    names: tuple[str, ...]

    def image(self, name: str) -> Path:
        """Path of an image."""
        return self.root / "VOC2007/JPEGImages" / f"{name}.jpg"

    def annotation(self, name: str) -> Path:
        """Path of an annotation."""
        return self.root / "VOC2007/Annotations" / f"{name}.xml"


@dataclass(frozen=True)
class Annotation:
    """The content of an annotation.

    Attributes:
        size: width and height of the image, px; None where it is not given.
        classes: of the boxes.
        difficult: whether each box is.
    """

    size: tuple[int, int] | None
    classes: tuple[str, ...]
    difficult: tuple[bool, ...]


def find_voc(root: str | Path) -> Voc:
    """Find ROOT/VOC2007 with JPEGImages, Annotations and ImageSets/Main/test.txt.

    ROOT is usually `VOCdevkit`; `VOCdevkit/VOC2007` will do as well.
    """
    root = Path(root)
    check_folder(root, "`VOC2007`, as VOCdevkit does")
    if root.name == "VOC2007":
        root = root.parent
    base = root / "VOC2007"
    for folder in ("JPEGImages", "Annotations"):
        check_folder(base / folder, "the test set of VOC 2007")
    listed = base / "ImageSets/Main/test.txt"
    names = read_lines(listed)
    check_unique(names, listed)
    found = Voc(root, tuple(names))
    for path_of, kind in ((found.image, "image"), (found.annotation, "annotation")):
        missing = [name for name in names if not path_of(name).is_file()]
        if missing:
            raise LayoutError(
                f"{len(missing)} of the {len(names)} names in {listed} have no {kind} "
                f"{path_of('NAME')}: {some(missing)}; unpack VOCtest_06-Nov-2007.tar over "
                "VOCtrainval_06-Nov-2007.tar"
            )
    return found


def read_annotation(path: Path, classes: Collection[str] = CLASSES) -> Annotation:
    """Read an annotation; its classes must be among `classes`, its boxes inside the image."""
    try:
        tree = ElementTree.parse(path).getroot()
        size = None
        if tree.find("size") is not None:
            size = int(_text(tree, "size/width")), int(_text(tree, "size/height"))
        objects = [
            (
                _text(item, "name"),
                [float(_text(item, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")],
                item.find("difficult") is not None and bool(int(_text(item, "difficult"))),
            )
            for item in tree.findall("object")
        ]
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise LayoutError(f"{path} is not an annotation of VOC ({error}); replace it") from error
    for name, (left, top, right, bottom), _ in objects:
        if name not in classes:
            raise LayoutError(
                f"{path} names class {name!r}, which is none of the {len(classes)}: mmdet would "
                "leave its boxes out"
            )
        width, height = size or (float("inf"), float("inf"))
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise LayoutError(
                f"{path} has a box {left:g} {top:g} {right:g} {bottom:g} that is empty or leaves "
                f"the image of {width} x {height} px; expected xmin ymin xmax ymax from 1"
            )
    return Annotation(
        size, tuple(name for name, _, _ in objects), tuple(flag for _, _, flag in objects)
    )


def _text(element: ElementTree.Element, key: str) -> str:
    text = element.findtext(key)
    if text is None:
        raise ValueError(f"no {key} in <{element.tag}>")
    return text.strip()
