import pytest

from evaluation.datasets.layouts.base import LayoutError
from evaluation.datasets.layouts.voc import Annotation, find_voc, read_annotation
from tests.evaluation.datasets.folders import annotation_text, make_voc

DOG = ("dog", (1, 1, 12, 9), False)
HARD = ("cat", (2, 3, 5, 6), True)


@pytest.fixture
def root(tmp_path):
    return make_voc(tmp_path / "VOCdevkit", [annotation_text(DOG, HARD), annotation_text()])


def test_finds_the_test_set(root):
    found = find_voc(root)
    assert found == find_voc(root / "VOC2007")
    assert found.root == root and found.names == ("000000", "000001")
    for name in found.names:
        assert found.image(name).is_file() and found.annotation(name).is_file()
    annotation = read_annotation(found.annotation("000000"))
    assert annotation == Annotation((12, 9), ("dog", "cat"), (False, True))
    assert read_annotation(found.annotation("000001")) == Annotation((12, 9), (), ())


def test_refuses(root, tmp_path):
    base = root / "VOC2007"
    with pytest.raises(LayoutError, match="no folder .*VOC2007/JPEGImages"):
        find_voc(tmp_path)
    listed = base / "ImageSets/Main/test.txt"
    listed.write_text("000000\n000001\n000002\n000000\n")
    with pytest.raises(LayoutError, match="test.txt has 000000 more than once"):
        find_voc(root)
    listed.write_text("000000\n000001\n000002\n")
    with pytest.raises(LayoutError, match="1 of the 3 names .* no image .*: 000002; unpack"):
        find_voc(root)
    listed.write_text("000000\n000001\n")
    (base / "Annotations/000001.xml").unlink()
    with pytest.raises(LayoutError, match="1 of the 2 names .* no annotation .*: 000001"):
        find_voc(root)
    listed.unlink()
    with pytest.raises(LayoutError, match="cannot read .*test.txt"):
        find_voc(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "is not an annotation of VOC"),
        (annotation_text(DOG).replace("xmin", "left"), "no bndbox/xmin in <object>"),
        (annotation_text(DOG).replace("<xmax>12", "<xmax>wide"), "is not an annotation of VOC"),
        (annotation_text(("unicorn", (1, 1, 5, 5), False)), "names class 'unicorn', which is none"),
        (annotation_text(("dog", (1, 1, 13, 9), False)), "a box 1 1 13 9 that is empty or leaves"),
        (annotation_text(("dog", (5, 1, 5, 9), False)), "a box 5 1 5 9 that is empty or leaves"),
        (annotation_text(("dog", (-1, 1, 5, 9), False)), "image of 12 x 9 px"),
    ],
)
def test_refuses_annotations(tmp_path, text, message):
    path = tmp_path / "0.xml"
    path.write_text(text)
    with pytest.raises(LayoutError, match=message):
        read_annotation(path)


def test_other_classes_and_no_size(tmp_path):
    path = tmp_path / "0.xml"
    path.write_text(annotation_text(("unicorn", (1, 1, 500, 5), False), size=None))
    assert read_annotation(path, ["unicorn"]) == Annotation(None, ("unicorn",), (False,))
