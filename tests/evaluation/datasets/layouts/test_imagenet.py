import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from evaluation.datasets.layouts.base import LayoutError
from evaluation.datasets.layouts.imagenet import GROUND_TRUTH, list_imagenet
from tests.evaluation.datasets.folders import (
    WNIDS,
    make_class_folders,
    make_flat,
    make_meta,
    write_image,
)

# as in the development kit, the numbers are not in the order of the wnids
NUMBERS = {1: "n02119789", 2: "n04147183", 3: "n01440764", 4: "n02123045"}
TRUTH = [3, 1, 1, 4, 2]
TARGETS = (0, 1, 1, 2, 3)
FLAT = tuple(f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 6))


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def flat(tmp_path):
    return make_flat(tmp_path / "val", 5)


@pytest.fixture
def devkit(flat):
    write_lines(flat / GROUND_TRUTH, TRUTH)
    make_meta(flat / "meta.mat", NUMBERS)
    return flat


def test_class_folders_match_torchvision(tmp_path):
    root = make_class_folders(tmp_path, [WNIDS[2], WNIDS[0], WNIDS[3], WNIDS[1]], each=3)
    (root / ".cache").mkdir()
    expected = ImageFolder(root, allow_empty=True)
    expected_classes = [name for name in expected.classes if not name.startswith(".")]
    images = list_imagenet(root)
    assert images.layout == "folders" and images.root == root
    assert (
        list(images.class_list.classes)
        == list(images.class_list.names)
        == expected_classes
        == WNIDS
    )
    shift = len(expected.classes) - len(expected_classes)
    paths = [str(root / path) for path in images.paths]
    targets = [target + shift for target in images.targets]
    assert list(zip(paths, targets, strict=True)) == expected.samples
    assert list_imagenet(root, outputs=4) == images


def test_a_class_list_numbers_a_part_of_the_classes(tmp_path):
    root = make_class_folders(tmp_path / "val", [WNIDS[1], WNIDS[3]], each=1)
    lines = [
        f"{wnid} {name}"
        for wnid, name in zip(WNIDS, ["tench", "fox", "cat", "screw driver"], strict=True)
    ]
    classes = write_lines(tmp_path / "list.txt", lines)
    images = list_imagenet(root, classes=classes, outputs=4)
    assert images.targets == (1, 3)
    assert images.class_list.classes == tuple(WNIDS)
    assert images.class_list.names == ("tench", "fox", "cat", "screw driver")
    # found by itself in the folder, and beside `val`
    classes.rename(tmp_path / "classes.txt")
    assert list_imagenet(root, outputs=4) == list_imagenet(tmp_path, outputs=4) == images
    (tmp_path / "classes.txt").rename(root / "classes.txt")
    assert list_imagenet(root, outputs=4) == images


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", "])
@pytest.mark.parametrize("suffix", ["", ".JPEG"])
def test_map_of_wnids(flat, tmp_path, separator, suffix):
    lines = [
        f"{path.removesuffix('.JPEG')}{suffix}{separator}{WNIDS[target]}"
        for path, target in zip(FLAT, TARGETS, strict=True)
    ]
    images = list_imagenet(flat, write_lines(tmp_path / "map", lines[::-1]), outputs=4)
    assert images.paths == FLAT and images.targets == TARGETS
    assert images.class_list.classes == tuple(WNIDS) and images.layout == "map"
    with_heading = write_lines(tmp_path / "map", [f"filename{separator}label", *lines])
    assert list_imagenet(flat, with_heading) == images


def test_kaggles_map(flat, tmp_path):
    lines = ["ImageId,PredictionString"]
    for path, target in zip(FLAT, TARGETS, strict=True):
        wnid = WNIDS[target]
        lines.append(f"{path.removesuffix('.JPEG')},{wnid} 85 1 499 272 {wnid} 1 2 3 4 ")
    images = list_imagenet(flat, write_lines(tmp_path / "LOC_val_solution.csv", lines))
    assert images.paths == FLAT and images.targets == TARGETS


def test_map_of_numbers(flat, tmp_path):
    lines = [f"{path} {target}" for path, target in zip(FLAT, TARGETS, strict=True)]
    labels = write_lines(tmp_path / "map", lines)
    images = list_imagenet(flat, labels, outputs=10)
    assert images.targets == TARGETS
    assert images.class_list.classes == tuple("0123456789")
    classes = write_lines(tmp_path / "list.txt", WNIDS)
    assert list_imagenet(flat, labels, classes).class_list.classes == tuple(WNIDS)


def test_map_of_names(flat, tmp_path):
    names = ["tench", "fox", "cat", "screw"]
    lines = [f"{path} {names[target]}" for path, target in zip(FLAT, TARGETS, strict=True)]
    classes = write_lines(tmp_path / "list.txt", names)
    images = list_imagenet(flat, write_lines(tmp_path / "map", lines), classes)
    assert images.targets == TARGETS


@pytest.mark.parametrize("folder", ["val", "val/data", "ILSVRC2012_devkit_t12/data"])
def test_devkit(tmp_path, flat, folder):
    kit = tmp_path / folder
    kit.mkdir(parents=True, exist_ok=True)
    write_lines(kit / GROUND_TRUTH, TRUTH)
    make_meta(kit / "meta.mat", NUMBERS)
    images = list_imagenet(flat, outputs=4)
    assert images.layout == "devkit"
    assert images.paths == FLAT and images.targets == TARGETS
    assert images.class_list.classes == tuple(WNIDS)
    assert list_imagenet(flat, labels=kit / GROUND_TRUTH) == images
    longer = write_lines(tmp_path / "list.txt", ["n00000001", *WNIDS])
    assert list_imagenet(flat, classes=longer).targets == tuple(np.array(TARGETS) + 1)


def check(message, *arguments, **options):
    with pytest.raises(LayoutError, match=message):
        list_imagenet(*arguments, **options)


def test_refuses_folders(tmp_path):
    check("no folder .*nowhere; it should hold the images", tmp_path / "nowhere")
    check("no images in .*expected ROOT/<class>/", tmp_path)
    (tmp_path / WNIDS[0]).mkdir()
    check("no images in .*expected ROOT/<class>/", tmp_path)
    make_class_folders(tmp_path, WNIDS[:2])
    check("has 2 classes, the model 9 outputs; pass a file .*--classes", tmp_path, outputs=9)
    check("has 2 classes, the model 1 outputs; no output stands for 1", tmp_path, outputs=1)
    classes = write_lines(tmp_path / "list", [WNIDS[0]])
    unknown = f"the folder .* names class '{WNIDS[1]}', which is not among the 1 of .*list"
    check(unknown, tmp_path, classes=classes)
    check("no images directly in .* where .*list gives", tmp_path, labels=classes)
    write_image(tmp_path / "stray.jpg")
    check("holds images directly in it .stray.jpg., but", tmp_path)


def test_refuses_folders_named_by_numbers(tmp_path):
    plain = make_class_folders(tmp_path / "1", [str(index) for index in range(11)], 1)
    check("alphabetical order is 0, 1, 10, 2", plain)
    padded = make_class_folders(tmp_path / "2", [f"{index:02}" for index in range(11)], 1)
    assert list_imagenet(padded).targets == tuple(range(11))


def test_refuses_class_lists(tmp_path):
    root = make_class_folders(tmp_path, WNIDS)
    twice = write_lines(root / "twice", [*WNIDS, WNIDS[1]])
    check(f"twice has {WNIDS[1]} more than once", root, classes=twice)
    check("cannot read .*nowhere", root, classes=root / "nowhere")
    check("empty is empty", root, classes=write_lines(root / "empty", ["", " "]))
    check("is not a text file", root, classes=root / WNIDS[0] / f"{WNIDS[0]}_0.JPEG")


GOOD = [f"{path} {WNIDS[target]}" for path, target in zip(FLAT, TARGETS, strict=True)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (GOOD[:4], f"has no class for 1 images: {FLAT[4]}"),
        ([*GOOD, "more.JPEG n01440764"], "names 1 images that are not there: more.JPEG"),
        ([*GOOD, GOOD[0]], f"line 6: {FLAT[0]} has a class already"),
        ([*GOOD[:4], f"{FLAT[4]} a b"], "line 5: expected `name class`, got"),
        ([*GOOD[:4], FLAT[4]], "line 5: expected `name class`, got"),
        ([*GOOD[:4], f"{FLAT[4]},{WNIDS[0]} 1 2 3 4 {WNIDS[1]} 1 2 3 4"], "line 5: expected"),
        ([*GOOD[:4], f"{FLAT[4]} fox"], "names the classes fox, which are no wnids"),
        ([f"{path} 2" for path in FLAT], "numbers the classes, but nothing says how many"),
    ],
)
def test_refuses_maps(flat, tmp_path, lines, message):
    check(message, flat, write_lines(tmp_path / "map", lines))


def test_refuses_maps_of_other_classes(flat, tmp_path):
    labels = write_lines(tmp_path / "map", GOOD)
    classes = write_lines(tmp_path / "list", WNIDS[:3])
    check(f"map names class '{WNIDS[3]}', which is not among", flat, labels, classes)
    numbers = write_lines(tmp_path / "map", [f"{path} 7" for path in FLAT])
    check("class number 7, but there are 4 classes, numbered from 0$", flat, numbers, outputs=4)
    from_one = [f"{path} {target + 1}" for path, target in zip(FLAT, TARGETS, strict=True)]
    numbers = write_lines(tmp_path / "map", from_one)
    check("seem to start from 1. Are they the development kit's", flat, numbers, outputs=4)


def test_refuses_two_images_of_one_name(flat, tmp_path):
    write_image(flat / "ILSVRC2012_val_00000001.png")
    labels = write_lines(tmp_path / "map", GOOD)
    check("has ILSVRC2012_val_00000001 more than once", flat, labels)


def test_refuses_flat_images_without_labels(flat):
    check("no labels; .*--labels", flat)


def test_refuses_devkits(devkit, tmp_path):
    write_lines(devkit / GROUND_TRUTH, TRUTH[:4])
    check("has 4 lines, and there are 5 images; .* ILSVRC2012_val_00000005. For a part", devkit)
    write_lines(devkit / GROUND_TRUTH, [*TRUTH[:4], 5])
    check("has the numbers 5, which meta.mat gives no class", devkit)
    write_lines(devkit / GROUND_TRUTH, TRUTH)
    (devkit / "meta.mat").write_text("not a table")
    check("meta.mat is not the development kit's", devkit)
    (devkit / "meta.mat").unlink()
    check("no .*meta.mat, which says what the numbers .* mean; .*--labels", devkit)
    (devkit / FLAT[0]).rename(devkit / "cat.JPEG")
    check("cat.JPEG is not named ILSVRC2012_val_<number>", devkit)
