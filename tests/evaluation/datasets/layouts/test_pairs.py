from pathlib import Path

import pytest
from PIL import Image

from evaluation.datasets.layouts.base import LayoutError
from evaluation.datasets.layouts.pairs import find_pairs


def make(root: Path, *names: str, size=(20, 12)) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "grey").save(root / name)
    return root


def found(root: Path, **options):
    """Rainy and clean paths in the folder, and the layout."""
    layout, pairs = find_pairs(root, **options)
    assert [pair.name for pair in pairs] == [pair.rainy.name for pair in pairs]
    names = {
        pair.rainy.relative_to(root).as_posix(): pair.clean.relative_to(root).as_posix()
        for pair in pairs
    }
    assert len(names) == len(pairs)
    return names, layout


FOLDERS = [
    {"rainy/rain-001.png": "norain/norain-001.png", "rainy/rain-002.png": "norain/norain-002.png"},
    {"rain/a.png": "norain/a.png", "rain/b.png": "norain/b.png"},
    {"input/1.png": "target/1.png", "input/10.png": "target/10.png"},
    {"rainy/1.png": "groundtruth/1.png"},
    {"Rain/rainbow.png": "NoRain/rainbow.jpg", "Rain/rain.png": "NoRain/rain.png"},
    # a scale behind the rainy name, in a folder of its own or not
    {
        "rain/X2/norain-001x2.png": "norain/norain-001.png",
        "rain/X2/norain-011x2.png": "norain/norain-011.png",
    },
    {"rain/rain-200x2.png": "norain/norain-200.png"},
    # fourteen rains on one image
    {
        "rainy_image/901_1.jpg": "ground_truth/901.jpg",
        "rainy_image/901_14.jpg": "ground_truth/901.jpg",
        "rainy_image/902_1.jpg": "ground_truth/902.jpg",
    },
    # the clean ones right in the folder
    {"rainy/rain-001.png": "norain-001.png", "rainy/rain-002.png": "norain-002.png"},
    # numbers at the end that are part of the name
    {"rain/7_1.png": "norain/7_1.png", "rain/7_2.png": "norain/7_2.png"},
]
NAMES = [
    {"rain-001.png": "norain-001.png", "rain-002.png": "norain-002.png"},
    {"rain1.png": "norain1.png", "rain11.png": "norain11.png"},
    {"001_in.png": "001_GT.png", "012_in.png": "012_GT.png"},
    {"a_rain.png": "a_clean.jpg"},
    # endings that tell, behind a beginning that seems to
    {"rain_1_in.png": "rain_1_GT.png"},
    {"street_in.png": "street_GT.png", "rainbow_in.png": "rainbow_GT.png"},
]


@pytest.mark.parametrize(
    ("names", "layout"),
    [(names, "folders") for names in FOLDERS] + [(names, "names") for names in NAMES],
)
def test_finds_pairs(tmp_path, names, layout):
    make(tmp_path, *names, *names.values())
    assert found(tmp_path) == (names, layout)
    # what a half would be is not asked where names make pairs
    assert found(tmp_path, clean_half="left") == (names, layout)


def test_streaks_and_regions_of_training_sets_are_no_images(tmp_path):
    others = ["rainstreak-001.png", "rainregion-001.png"]
    make(tmp_path, "rain-001.png", "norain-001.png", *others)
    assert found(tmp_path) == ({"rain-001.png": "norain-001.png"}, "names")


def test_halves(tmp_path):
    make(tmp_path, "1.jpg", "2.jpg")
    assert found(tmp_path, clean_half="right") == ({"1.jpg": "1.jpg", "2.jpg": "2.jpg"}, "halves")
    assert {pair.clean_half for pair in find_pairs(tmp_path, "right")[1]} == {"right"}
    with pytest.raises(LayoutError, match=r"holds 2 images, 1.jpg, 2.jpg: .*--clean-half left"):
        find_pairs(tmp_path)
    make(tmp_path, "odd.png", size=(21, 12))
    with pytest.raises(LayoutError, match=r"1 pairs .*odd.png \(two halves in a width of 21 px\)"):
        find_pairs(tmp_path, "left")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "laid out like no known benchmark; expected a folder rainy or rain .*NAME_GT$"),
        (["train/a.png"], "laid out like no known benchmark"),
        (["rain/a.png"], "has rain, but no clean images; expected"),
        (["rain/a.png", "input/a.png", "target/a.png"], "has input, rain; which one"),
        (["rain/a.png", "norain/a.png", "target/a.png"], "has norain, target; which one"),
        (["rain/a.txt.d/X/a.png", "rain/b/a.png", "norain/a.png"], "no images in .*rain;"),
        (["rain/a.png", "rain/a.jpg", "norain/a.png"], "rainy images, has a more than once"),
        (["rain/a.png", "norain/a.png", "norain/a.jpg"], "clean images, has a more than once"),
        (
            ["rain/a.png", *(f"rain/{n}.png" for n in range(5)), "norain/a.png"],
            "5 rainy images have no clean one: "
            "rain/0.png, rain/1.png, rain/2.png and 2 more; add what is missing",
        ),
        (
            ["rain-1.png", "norain-1.png", "norain-2.png", "notes.png"],
            "1 rainy images have no clean one: notes.png; "
            "1 clean images have no rainy one: norain-2.png; add",
        ),
        # a missing one is not taken for one of several rains
        (
            ["rain/7_1.png", "rain/7_2.png", "rain/8.png", "norain/7_1.png", "norain/8.png"],
            "1 rainy images have no clean one: rain/7_2.png; add",
        ),
    ],
)
def test_refuses(tmp_path, names, message):
    make(tmp_path, *names)
    with pytest.raises(LayoutError, match=message):
        find_pairs(tmp_path)


def test_refuses_sizes_and_damage(tmp_path):
    with pytest.raises(LayoutError, match="no folder .*none; it should hold a folder rainy"):
        find_pairs(tmp_path / "none")
    make(tmp_path, *(f"{kind}/{n}.png" for kind in ("input", "target") for n in range(5)))
    make(tmp_path, *(f"target/{n}.png" for n in range(1, 5)), size=(12, 20))
    with pytest.raises(
        LayoutError, match=r"4 pairs .*: 1.png \(20 x 12 and 12 x 20 px\), .* 1 more"
    ):
        find_pairs(tmp_path)
    (tmp_path / "input/3.png").write_text("no image")
    with pytest.raises(LayoutError, match=r"1 pairs cannot be read: 3.png \(cannot identify"):
        find_pairs(tmp_path)


def test_sizes_are_those_of_the_upright_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    for folder in ("rain", "norain"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (12, 20)).save(tmp_path / "norain/1.png")
    Image.new("RGB", (20, 12)).save(tmp_path / "rain/1.png", exif=exif)
    assert len(find_pairs(tmp_path)[1]) == 1
    Image.new("RGB", (20, 12)).save(tmp_path / "rain/1.png")
    with pytest.raises(LayoutError, match="20 x 12 and 12 x 20 px"):
        find_pairs(tmp_path)
