"""The scenes on disk, in the layouts of the real data sets."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from evaluation.datasets.layouts.ade20k import find_ade20k
from evaluation.datasets.layouts.imagenet import list_imagenet
from evaluation.datasets.layouts.voc import find_voc
from evaluation.datasets.synthetic.dataset import SIZES, write_dataset
from evaluation.datasets.synthetic.scenes import LABELS, OBJECTS

TASKS = list(SIZES)


def read_all(root):
    """All files by their path within the folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def images(root):
    return {
        key: value for key, value in read_all(root).items() if key.lower()[-4:] in ("jpeg", ".jpg")
    }


@pytest.mark.parametrize("task", TASKS)
def test_same_bytes_for_the_same_seed(task, tmp_path):
    """Whatever the number of images and processes."""
    one = read_all(write_dataset(task, tmp_path / "one", 6, seed=5))
    assert read_all(write_dataset(task, tmp_path / "two", 6, seed=5, processes=2)) == one
    fewer = images(write_dataset(task, tmp_path / "fewer", 3, seed=5))
    assert fewer.items() <= one.items() and len(fewer) == 3


def test_no_image_in_common(tmp_path):
    """Of other seeds, splits, and of tasks that draw the same kind of scene."""
    settings = [
        (task, split, seed)
        for task in TASKS
        for split in ("validation", "training", "tuning")
        for seed in (0, 1)
    ]
    contents = set()
    for number, (task, split, seed) in enumerate(settings):
        root = write_dataset(task, tmp_path / str(number), 2, seed=seed, split=split)
        contents |= set(images(root).values())
    assert len(contents) == 2 * len(settings)


def test_layout_of_imagenet(tmp_path):
    root = write_dataset("classification", tmp_path / "scenes", 26)
    images = list_imagenet(root)
    assert images.class_list.names == OBJECTS and len(images.paths) == 26
    assert sorted(images.targets) == sorted([*range(12), *range(12), 0, 1])
    with Image.open(root / images.paths[0]) as image:
        assert image.size == (336, 336) and image.format == "JPEG"
        assert get_sampling(image) == 0  # 4:4:4


def test_layout_of_ade20k(tmp_path):
    root = write_dataset("segmentation", tmp_path / "scenes", 3)
    found = find_ade20k(root)
    assert len(found.stems) == 3
    for stem in found.stems:
        labels = np.array(Image.open(found.annotation(stem)))
        assert labels.dtype == np.uint8 and labels.shape == (384, 512)
        assert labels.max() <= len(LABELS)
        assert Image.open(found.image(stem)).size == (512, 384)


def test_layout_of_voc(tmp_path):
    root = write_dataset("detection", tmp_path / "scenes", 8)
    found = find_voc(root)
    assert found.names == tuple(f"{number:06}" for number in range(8))
    corners = []
    for name in found.names:
        tree = ElementTree.parse(found.annotation(name))
        assert [int(tree.findtext(f"size/{key}")) for key in ("width", "height")] == [512, 384]
        for item in tree.findall("object"):
            assert item.findtext("name") in OBJECTS and item.findtext("difficult") in ("0", "1")
            box = [int(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
            corners.append(box)
    corners = np.array(corners)
    assert len(corners) > 10 and (corners[:, 2:] > corners[:, :2]).all()
    # counted from 1: the first and the last column are 1 and 512
    assert corners.min() == 1 and (corners <= [512, 384, 512, 384]).all()
    assert corners[:, 0].min() == 1 and corners[:, 2].max() == 512


def test_a_complete_folder_is_used_as_it_is(tmp_path):
    root = write_dataset("detection", tmp_path / "scenes", 2)
    (root / "VOC2007/JPEGImages/000000.jpg").write_bytes(b"mine")
    drawn = []
    write_dataset("detection", root, 2, advance=lambda: drawn.append(1))
    assert (root / "VOC2007/JPEGImages/000000.jpg").read_bytes() == b"mine" and not drawn
    for change in ({"count": 3}, {"count": 2, "seed": 1}, {"count": 2, "split": "training"}):
        with pytest.raises(ValueError, match="scenes should hold .* but holds .*; remove it"):
            write_dataset("detection", root, **change)
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match="holds something else"):
        write_dataset("detection", tmp_path / "photos", 2)


def test_an_interrupted_drawing_leaves_nothing(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset("segmentation", tmp_path / "scenes", 3, advance=interrupt)
    assert list(tmp_path.iterdir()) == []
    drawn = []
    write_dataset("segmentation", tmp_path / "scenes", 3, advance=lambda: drawn.append(1))
    assert len(drawn) == 3
