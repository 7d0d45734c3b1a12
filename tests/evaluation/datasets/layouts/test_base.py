import pytest

from evaluation.datasets.layouts.base import data_name


@pytest.mark.parametrize(
    ("task", "images", "classes", "name"),
    [
        ("classification", 50_000, 1000, "ImageNet validation"),
        ("segmentation", 2_000, 150, "ADE20K validation"),
        ("detection", 4_952, 20, "VOC 2007 test"),
        ("segmentation", 116, 11, "camvid"),
        ("segmentation", 2_000, 124, "camvid"),
        ("detection", 4_951, 20, "camvid"),
    ],
)
def test_only_a_set_of_the_papers_size_bears_its_name(task, images, classes, name):
    assert data_name(task, images, classes, "/data/camvid/") == name
