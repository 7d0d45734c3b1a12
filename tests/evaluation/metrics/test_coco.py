import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="pycocotools, which comes with mmdet, is not installed")

from evaluation.metrics.coco import coco_ap
from tests.evaluation.metrics.records import BOX, OTHER, one_image


def test_by_hand(capsys):
    # IoU of the first is 100 x 72 / (100 x 100) = 0.72, a hit up to 0.70: 5 of 10 levels
    first = one_image([[0, 0, 100, 72]], [0.9], [[0, 0, 100, 100]])
    # half of the boxes found, and first: 51 of the 101 recalls
    second = one_image([BOX, [200, 200, 250, 250]], [0.9, 0.1], [BOX, OTHER])
    assert coco_ap([first], 1) == pytest.approx({"COCO AP": 0.5, "COCO AP50": 1.0})
    assert coco_ap([second], 1) == pytest.approx({"COCO AP": 51 / 101, "COCO AP50": 51 / 101})
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_ignored_boxes_are_neither_right_nor_wrong():
    record = one_image([OTHER, OTHER, BOX], [0.9, 0.8, 0.7], [BOX, OTHER], [False, True])
    assert coco_ap([record], 1)["COCO AP"] == pytest.approx(1)
    wrong = one_image([OTHER, BOX], [0.9, 0.7], [BOX])
    assert coco_ap([wrong], 1)["COCO AP"] == pytest.approx(0.5)


def test_without_detections_or_truth():
    assert coco_ap([one_image([], [], [BOX])], 1) == {"COCO AP": 0, "COCO AP50": 0}
    assert all(np.isnan(value) for value in coco_ap([one_image([BOX], [1], [])], 1).values())


def test_classes_are_averaged():
    found = one_image([BOX], [0.9], [BOX])
    missed = {**one_image([], [], [BOX]), "target_labels": np.ones(1, int)}
    assert coco_ap([found, missed], 3)["COCO AP"] == pytest.approx(0.5)
