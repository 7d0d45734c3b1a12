import numpy as np
import pytest
from PIL import Image

from evaluation.datasets.layouts.ade20k import find_ade20k, read_annotation_map
from evaluation.datasets.layouts.base import LayoutError
from tests.evaluation.datasets.folders import make_ade20k, write_image


@pytest.fixture
def root(tmp_path):
    return make_ade20k(tmp_path, [[0, 1, 150], [0, 2]])


def test_finds_pairs(root):
    found = find_ade20k(root)
    assert found == find_ade20k(root)
    assert found.stems == ("ADE_val_00000000", "ADE_val_00000001")
    for stem in found.stems:
        assert found.image(stem).is_file() and found.annotation(stem).is_file()
    values = read_annotation_map(found.annotation(found.stems[0]))
    assert values.shape == (9, 12)
    np.testing.assert_array_equal(np.unique(values), [0, 1, 150])


def test_refuses(root, tmp_path):
    images = root / "images/validation"
    with pytest.raises(LayoutError, match="no folder .*nowhere"):
        find_ade20k(tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="no folder .*validation/images/validation"):
        find_ade20k(images)
    write_image(images / "more.jpg")
    message = "1 images of .* have no annotation map, and 0 maps no image: more; each"
    with pytest.raises(LayoutError, match=message):
        find_ade20k(root)
    (images / "more.jpg").rename(images / "more.png")
    with pytest.raises(LayoutError, match=r"must hold \*.jpg files, .* there are also more.png"):
        find_ade20k(root)
    for path in images.iterdir():
        path.unlink()
    with pytest.raises(LayoutError, match=r"must hold \*.jpg files, .* there are none"):
        find_ade20k(root)


def test_refuses_maps(tmp_path):
    path = tmp_path / "map.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(LayoutError, match=r"has colours \(mode RGB\)"):
        read_annotation_map(path)
    path.write_text("no image")
    with pytest.raises(LayoutError, match="cannot read .*map.png"):
        read_annotation_map(path)
