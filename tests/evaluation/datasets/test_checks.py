import pytest
from PIL import ExifTags, Image

from evaluation.datasets.checks import examine, findings
from evaluation.datasets.layouts.base import SET_SIZES
from tests.evaluation.datasets.folders import (
    WNIDS,
    annotation_text,
    make_ade20k,
    make_class_folders,
    make_voc,
    write_map,
)

IMAGENET = ["n01440764", *(f"n02{index:06}" for index in range(998)), "n15075141"]


@pytest.fixture
def size(monkeypatch):
    """Makes a set of few images a whole one."""
    return lambda task, images: monkeypatch.setitem(SET_SIZES, task, images)


def levels(found):
    return {finding.what: finding.level for finding in found}


def finding(found, what):
    (one,) = [item for item in found if item.what == what]
    return one


def write_classes(path, classes):
    path.write_text("\n".join(classes))
    return path


def test_a_whole_imagenet(tmp_path, size):
    size("classification", 2000)
    for wnid in IMAGENET[3:]:
        (tmp_path / wnid).mkdir()
    make_class_folders(tmp_path, IMAGENET[:3], each=2)
    (tmp_path / IMAGENET[0] / "0.JPEG").touch()
    found = examine("classification", tmp_path)
    assert finding(found, "order of classes").level == "ok"
    assert "index 0 is n01440764 (tench)" in finding(found, "order of classes").detail
    assert "2 to 3 images of each of 3 classes, none" in finding(found, "images per class").detail
    assert finding(found, "readable images").level == "error"
    assert "1 of all 7 cannot be read: 0.JPEG (not a" in finding(found, "readable images").detail


def test_all_is_well_with_imagenet(tmp_path, size):
    size("classification", 2)
    classes = write_classes(tmp_path / "classes.txt", IMAGENET)
    root = make_class_folders(tmp_path / "val", [IMAGENET[0], IMAGENET[5]], each=1)
    found = examine("classification", root, outputs=1000)
    assert levels(found) == {
        "layout": "ok",
        "images": "ok",
        "order of classes": "ok",
        "images per class": "warning",
        "readable images": "ok",
    }
    assert examine("classification", root, classes=classes) == found


@pytest.mark.parametrize(
    ("classes", "level", "detail"),
    [
        (
            [*IMAGENET[1:], IMAGENET[0]],
            "error",
            "index 0 is n02000000 and the wnids are not sorted",
        ),
        (
            [IMAGENET[0], *IMAGENET[2:], "n15075142"],
            "error",
            "1,000 sorted wnids from n01440764 to",
        ),
        (IMAGENET[:999], "warning", "999 classes are numbered from 0"),
        (["n01440764", "tench"], "warning", "not wnids but n01440764, tench, ...: only you"),
    ],
)
def test_order_of_classes(tmp_path, classes, level, detail):
    root = make_class_folders(tmp_path, IMAGENET[:1])
    found = examine("classification", root, classes=write_classes(tmp_path / "list", classes))
    assert finding(found, "order of classes").level == level
    assert detail in finding(found, "order of classes").detail


def test_sizes_of_classes(tmp_path, size):
    make_class_folders(tmp_path, WNIDS, each=2)
    assert finding(examine("classification", tmp_path), "images per class").level == "ok"
    make_class_folders(tmp_path, WNIDS[:1], each=3)
    assert finding(examine("classification", tmp_path), "images per class").level == "ok"
    size("classification", 9)
    found = examine("classification", tmp_path)
    assert finding(found, "images per class").level == "error"
    assert "2 to 3 images of each of 4 classes; the" in finding(found, "images per class").detail


@pytest.mark.parametrize(
    ("whole", "level", "detail"),
    [
        (8, "ok", "8, all of ImageNet's validation set"),
        (50_000, "warning", "has 50,000: if this is a part of that, the scores cannot be compared"),
        (7, "warning", "if this is more than all of that"),
    ],
)
def test_number_of_images(tmp_path, size, whole, level, detail):
    size("classification", whole)
    found = examine("classification", make_class_folders(tmp_path, WNIDS, each=2))
    assert finding(found, "images").level == level
    assert detail in finding(found, "images").detail


@pytest.mark.parametrize("task", ["classification", "segmentation", "detection"])
def test_another_layout_is_all_that_is_said(tmp_path, task):
    (found,) = examine(task, tmp_path / "nowhere")
    assert (found.level, found.what) == ("error", "layout")
    assert "no folder" in found.detail


def test_only_a_sample_is_opened(tmp_path, monkeypatch):
    root = make_class_folders(tmp_path, WNIDS, each=3)
    (root / WNIDS[0] / f"{WNIDS[0]}_1.JPEG").write_bytes(b"")
    monkeypatch.setattr(findings, "SAMPLE", 4)
    found = examine("classification", root)
    assert finding(found, "readable images").detail == "4 of 12 opened, none damaged"
    found = examine("classification", root, thorough=True)
    assert "1 of all 12 cannot be read" in finding(found, "readable images").detail


def test_all_is_well_with_ade20k(tmp_path, size):
    size("segmentation", 2)
    found = examine("segmentation", make_ade20k(tmp_path, [[0, 1, 2], [5, 150]]))
    assert {item.level for item in found} == {"ok"}
    assert [item.what for item in found] == [
        "layout",
        "images",
        "annotations",
        "zero label",
        "readable images",
    ]
    assert "values 0-2, 5, 150: 0 is other" in finding(found, "zero label").detail


@pytest.mark.parametrize(
    ("values", "level", "detail"),
    [
        ([0, 7, 149, 255], "error", "255 means that the zero label was removed before"),
        ([0, 7, 149], "warning", "0, 7, 149, not 150: either no image shows the last class"),
        ([1, 150], "warning", "none has 0, which stands for other"),
        ([0, 150, 151], "error", "expected 0 for other and 1 to 150"),
    ],
)
def test_zero_label(tmp_path, values, level, detail):
    found = examine("segmentation", make_ade20k(tmp_path, [values]))
    assert finding(found, "zero label").level == level
    assert detail in finding(found, "zero label").detail


def test_zero_label_of_a_sample_and_of_other_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "SAMPLE", 1)
    root = make_ade20k(tmp_path, [[0, 1], [2, 3]])
    found = finding(examine("segmentation", root), "zero label")
    assert found.level == "ok" and "--thorough reads all maps" in found.detail
    assert finding(examine("segmentation", root, thorough=True), "zero label").level == "warning"
    classes = write_classes(tmp_path / "list", ["sky", "ground", "wall"])
    found = examine("segmentation", root, classes=classes, thorough=True)
    assert finding(found, "zero label").level == "ok"


def test_annotation_maps(tmp_path):
    root = make_ade20k(tmp_path, [[0, 150], [0, 1]])
    path = root / "annotations/validation/ADE_val_00000001.png"
    Image.new("L", (12, 8)).save(path)
    found = finding(examine("segmentation", root), "annotations")
    assert found.level == "error"
    assert "1 of all 2 maps are not of the size of their image: ADE_val_" in found.detail
    Image.new("RGB", (12, 9)).save(path)
    found = finding(examine("segmentation", root), "annotations")
    assert found.level == "error" and "has colours" in found.detail
    write_map(path, [1])
    (root / "images/validation/ADE_val_00000001.jpg").write_bytes(b"")
    found = examine("segmentation", root)
    assert finding(found, "annotations").level == "ok"
    assert finding(found, "readable images").level == "error"


DOG, HARD_CAT = ("dog", (1, 1, 12, 9), False), ("cat", (2, 3, 5, 6), True)


def test_all_is_well_with_voc(tmp_path, size):
    size("detection", 2)
    root = make_voc(tmp_path, [annotation_text(DOG, HARD_CAT), annotation_text(DOG)])
    classes = write_classes(tmp_path / "list", ["dog", "cat"])
    found = examine("detection", root, classes=classes)
    assert {item.level for item in found} == {"ok"}
    assert [item.what for item in found] == [
        *("layout", "images", "annotations", "boxes", "readable images"),
    ]
    assert finding(found, "boxes").detail == "3 boxes of 2 of 2 classes, 1 difficult"


@pytest.mark.parametrize(
    ("objects", "level", "detail"),
    [
        ([], "error", "there is nothing to score"),
        (
            [HARD_CAT],
            "warning",
            "1 of 2 classes, 1 difficult; without a box, left out of the mean: dog",
        ),
        ([DOG, ("cat", (1, 1, 5, 5), False)], "warning", "0 difficult; if the flags were lost"),
    ],
)
def test_boxes(tmp_path, objects, level, detail):
    root = make_voc(tmp_path, [annotation_text(*objects)])
    classes = write_classes(tmp_path / "list", ["dog", "cat"])
    found = finding(examine("detection", root, classes=classes), "boxes")
    assert found.level == level and detail in found.detail


def test_annotations_of_boxes(tmp_path):
    unicorn = ("unicorn", (1, 1, 5, 5), False)
    root = make_voc(tmp_path, [annotation_text(unicorn), annotation_text(DOG, size=(12, 10))])
    found = finding(examine("detection", root), "annotations")
    assert found.level == "error"
    assert found.detail.startswith("2 of 2 are wrong: ") and "'unicorn'" in found.detail
    (root / "VOC2007/Annotations/000000.xml").write_text(annotation_text(DOG))
    found = finding(examine("detection", root), "annotations")
    assert "000001.jpg is not of the size that its annotation says" in found.detail
    # its annotation has the size of the upright image, as loaders give it
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (10, 12)).save(root / "VOC2007/JPEGImages/000001.jpg", exif=turned)
    assert finding(examine("detection", root), "annotations").level == "ok"


def test_unknown_task(tmp_path):
    with pytest.raises(ValueError, match="unknown task 'counting'; choose from"):
        examine("counting", tmp_path)
