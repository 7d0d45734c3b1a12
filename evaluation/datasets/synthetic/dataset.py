"""The built-in benchmark: drawn scenes in the layouts of ImageNet, ADE20K and VOC 2007.

An image is a function of the seed, the task, the split and its number alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from evaluation.datasets.synthetic.scenes import (
    OBJECTS,
    PORTRAIT_SIZE,
    SCENE_SIZE,
    Scene,
    draw_portrait,
    draw_scene,
)
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError

SIZES = {"classification": 240, "segmentation": 100, "detection": 100}
"""Images of the test sets, by task."""

_SPLITS = ("validation", "training", "tuning")  # tuning picks the weights in training
_LAYOUT = 3
_OBJECT_SIZE = {"training": (0.4, 0.85), "tuning": (0.4, 0.85), "validation": (0.28, 0.65)}
"""For classification, relative to the height: smaller in the test, which would saturate else."""
_ABOUT = "scenes.json"


def write_dataset(
    task: str,
    root: Path,
    count: int | None = None,
    seed: int = 0,
    split: str = "validation",
    scale: float = 1.0,
    processes: int = 1,
    advance: Callable[[], object] = lambda: None,
) -> Path:
    """Draw a data set, unless it exists.

    Args:
        task: `classification` (layout of ImageNet's validation set), `segmentation`
            (ADE20K) or `detection` (VOC 2007).
        root: folder to create, atomically.
        count: images; None takes `SIZES`.
        seed: of the images.
        split: `validation`, `training` or `tuning`; they share no image.
        scale: factor of the image size; small images are drawn faster, for training.
        processes: number of processes.
        advance: called after each image.

    Returns:
        The root.

    Raises:
        UserError: the folder holds something else.
    """
    count = SIZES[task] if count is None else count
    about: dict[str, object] = {"task": task, "count": count, "seed": seed, "split": split}
    about |= {"scale": scale, "layout": _LAYOUT}
    if root.exists():
        _check(root, about)
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_path(root, folder=True) as partial_root:
            _make_folders(task, partial_root, count)
            draw = partial(_draw, task, partial_root, seed, split, scale)
            if processes > 1:
                with ProcessPoolExecutor(processes, initializer=_end_with_parent) as pool:
                    for _ in pool.map(draw, range(count), chunksize=16):
                        advance()
            else:
                for number in range(count):
                    draw(number)
                    advance()
            (partial_root / _ABOUT).write_text(json.dumps(about) + "\n")
    except OSError:
        if not root.exists():
            raise
        _check(root, about)  # another process was faster
    return root


def _end_with_parent() -> None:
    """End this worker when its parent is killed, after which it would wait for work for good."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check(root: Path, about: dict[str, object]) -> None:
    try:
        found = json.loads((root / _ABOUT).read_text())
    except (OSError, ValueError):
        found = None
    if found != about:
        raise UserError(
            f"{root} should hold the scenes {about}, but holds {found or 'something else'}; "
            "remove it, or choose another folder"
        )


def _make_folders(task: str, root: Path, count: int) -> None:
    if task == "classification":
        folders = list(OBJECTS)
    elif task == "segmentation":
        folders = ["images/validation", "annotations/validation"]
    else:
        folders = [f"VOC2007/{name}" for name in ("JPEGImages", "Annotations", "ImageSets/Main")]
    for folder in folders:
        (root / folder).mkdir(parents=True)
    if task == "detection":
        names = "".join(f"{number:06}\n" for number in range(count))
        (root / "VOC2007/ImageSets/Main/test.txt").write_text(names)


def _draw(task: str, root: Path, seed: int, split: str, scale: float, number: int) -> None:
    stream = [seed, list(SIZES).index(task), _SPLITS.index(split), number]
    rng = np.random.default_rng(stream)
    if task == "classification":
        kind = number % len(OBJECTS)
        scene = draw_portrait(rng, kind, _scaled(PORTRAIT_SIZE, scale), _OBJECT_SIZE[split])
        _write_jpeg(root / OBJECTS[kind] / f"{number:06}.JPEG", scene)
        return
    scene = draw_scene(rng, _scaled(SCENE_SIZE, scale))
    if task == "segmentation":
        _write_jpeg(root / f"images/validation/{number:06}.jpg", scene)
        Image.fromarray(scene.labels).save(root / f"annotations/validation/{number:06}.png")
        return
    _write_jpeg(root / f"VOC2007/JPEGImages/{number:06}.jpg", scene)
    tree = ElementTree.ElementTree(_annotation(scene))
    ElementTree.indent(tree)
    tree.write(root / f"VOC2007/Annotations/{number:06}.xml")


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(size[0] * scale), round(size[1] * scale)


def _write_jpeg(path: Path, scene: Scene) -> None:
    Image.fromarray(scene.image).save(path, "JPEG", quality=95, subsampling="4:4:4")


def _annotation(scene: Scene) -> ElementTree.Element:
    """An annotation of VOC, which counts pixels from 1."""
    root = ElementTree.Element("annotation")
    height, width = scene.image.shape[:2]
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(value)
    for box, kind, hard in zip(scene.boxes, scene.classes, scene.difficult, strict=True):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = OBJECTS[kind]
        ElementTree.SubElement(item, "difficult").text = str(int(hard))
        corners = ElementTree.SubElement(item, "bndbox")
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box + 1, strict=True):
            ElementTree.SubElement(corners, name).text = str(value)
    return root
