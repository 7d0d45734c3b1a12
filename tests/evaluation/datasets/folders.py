"""Tiny data sets in the layouts of the real ones, with everything right; tests break them."""

from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ["n01440764", "n02119789", "n02123045", "n04147183"]
SIZE = (12, 9)  # width, height

_OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""
_SIZE = "<size><width>{}</width><height>{}</height><depth>3</depth></size>"


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, "grey").save(path, "JPEG")


def make_class_folders(root: Path, wnids: list[str], each: int = 2) -> Path:
    for wnid in wnids:
        for index in range(each):
            write_image(root / wnid / f"{wnid}_{index}.JPEG")
    return root


def make_flat(root: Path, count: int) -> Path:
    for number in range(1, count + 1):
        write_image(root / f"ILSVRC2012_val_{number:08}.JPEG")
    return root


def make_meta(path: Path, wnids: dict[int, str]) -> None:
    """The development kit's table: leaves, and one inner node."""
    from scipy.io import savemat

    rows = [(number, wnid, "words", 0) for number, wnid in wnids.items()]
    rows.append((1001, "n00001740", "entity", 7))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    savemat(path, {"synsets": np.array(rows, dtype=kinds)[:, None]})


def write_map(path: Path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, np.uint8), SIZE[::-1])).save(path)


def make_ade20k(root: Path, maps: list[list[int]]) -> Path:
    for index, values in enumerate(maps):
        write_image(root / f"images/validation/ADE_val_{index:08}.jpg")
        write_map(root / f"annotations/validation/ADE_val_{index:08}.png", values)
    return root


def annotation_text(*objects, size=SIZE) -> str:
    """Of objects (class, box, difficult)."""
    text = "".join(
        _OBJECT.format(*box, name=name, difficult=int(difficult))
        for name, box, difficult in objects
    )
    return f"<annotation>{_SIZE.format(*size) if size else ''}{text}</annotation>"


def make_voc(root: Path, annotations: list[str]) -> Path:
    base = root / "VOC2007"
    (base / "ImageSets/Main").mkdir(parents=True)
    (base / "Annotations").mkdir()
    names = [f"{index:06}" for index in range(len(annotations))]
    for name, text in zip(names, annotations, strict=True):
        write_image(base / f"JPEGImages/{name}.jpg")
        (base / f"Annotations/{name}.xml").write_text(text)
    (base / "ImageSets/Main/test.txt").write_text("".join(f"{name}\n" for name in names))
    return root
