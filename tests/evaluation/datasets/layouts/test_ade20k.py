import numpy as np
import pytest
from PIL import Image

from evaluation.datasets.layouts import LayoutError, find_ade20k, find_layout
from evaluation.datasets.layouts.ade20k import read_annotation_map
from tests.evaluation.datasets.folders import make_ade20k, write_picture


@pytest.fixture
def root(tmp_path):
    return make_ade20k(tmp_path, [[0, 1, 150], [0, 2]])


def test_finds_pairs(root):
    found = find_layout("segmentation", root)
    assert found == find_ade20k(root)
    assert found.stems == ("ADE_val_00000000", "ADE_val_00000001")
    for stem in found.stems:
        assert found.picture(stem).is_file() and found.annotation(stem).is_file()
    values = read_annotation_map(found.annotation(found.stems[0]))
    assert values.shape == (9, 12)
    np.testing.assert_array_equal(np.unique(values), [0, 1, 150])


def test_refuses(root, tmp_path):
    pictures = root / "images/validation"
    with pytest.raises(LayoutError, match="no folder .*nowhere"):
        find_ade20k(tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="no folder .*validation/images/validation"):
        find_ade20k(pictures)
    write_picture(pictures / "more.jpg")
    message = "1 pictures of .* have no annotation map, and 0 maps no picture: more; each"
    with pytest.raises(LayoutError, match=message):
        find_ade20k(root)
    (pictures / "more.jpg").rename(pictures / "more.png")
    with pytest.raises(LayoutError, match=r"must hold \*.jpg files, .* there are also more.png"):
        find_ade20k(root)
    for path in pictures.iterdir():
        path.unlink()
    with pytest.raises(LayoutError, match=r"must hold \*.jpg files, .* there are none"):
        find_ade20k(root)
    with pytest.raises(ValueError, match="unknown task 'counting'; choose from"):
        find_layout("counting", root)


def test_refuses_maps(tmp_path):
    path = tmp_path / "map.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(LayoutError, match=r"has colours \(mode RGB\)"):
        read_annotation_map(path)
    path.write_text("no picture")
    with pytest.raises(LayoutError, match="cannot read .*map.png"):
        read_annotation_map(path)
