import pytest

from evaluation.datasets.layouts.base import data_name


@pytest.mark.parametrize(
    ("task", "images", "name"),
    [
        ("classification", 50_000, "ImageNet validation"),
        ("segmentation", 2_000, "ADE20K validation"),
        ("detection", 4_952, "VOC 2007 test"),
        ("segmentation", 116, "camvid"),
        ("detection", 4_951, "camvid"),
    ],
)
def test_only_a_set_of_the_papers_size_bears_its_name(task, images, name):
    assert data_name(task, images, "/data/camvid/") == name
