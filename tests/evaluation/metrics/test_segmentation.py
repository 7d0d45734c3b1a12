import numpy as np
import pytest

from evaluation.metrics import SCORE, segmentation


def areas(confusion):
    """From (C, C) pixels by label and prediction."""
    confusion = np.asarray(confusion)
    hit, label, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return {"areas": np.stack([hit, label + said - hit, said, label])}


# rows are labels; class 3 is nowhere, class 2 is only ever said
FIRST = areas([[8, 2, 0, 0], [1, 3, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
SECOND = areas([[0, 0, 0, 0], [2, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_by_hand():
    result = SCORE["segmentation"]([FIRST, SECOND], 4)
    # hits 8, 6, 0, 0; labels 10, 10, 0, 0; said 11, 8, 1, 0; hence unions 13, 12, 1, 0
    assert list(result.metrics) == ["mIoU", "aAcc", "mAcc"]
    assert result.metrics["mIoU"] == pytest.approx((8 / 13 + 6 / 12 + 0) / 3)
    assert result.metrics["aAcc"] == pytest.approx(14 / 20)
    assert result.metrics["mAcc"] == pytest.approx((8 / 10 + 6 / 10) / 2)
    assert result.class_metric == "IoU"
    np.testing.assert_allclose(result.class_values, [8 / 13, 6 / 12, 0, np.nan])


def test_resamples_by_hand():
    result = segmentation.score([FIRST, SECOND], 4)
    counts = np.array([[2, 0], [0, 2], [1, 1]])
    # without the first image, class 0 is never a label: IoU 0, no accuracy; class 2 is nowhere
    np.testing.assert_allclose(
        result.measures["mIoU"](counts),
        [(8 / 11 + 3 / 7 + 0) / 3, (0 + 3 / 5) / 2, result.metrics["mIoU"]],
    )
    np.testing.assert_allclose(result.measures["aAcc"](counts), [11 / 15, 3 / 5, 14 / 20])
    np.testing.assert_allclose(
        result.measures["mAcc"](counts), [(8 / 10 + 3 / 5) / 2, 3 / 5, result.metrics["mAcc"]]
    )


def test_nothing_labelled_is_undefined():
    result = segmentation.score([areas(np.zeros((2, 2), int))], 2)
    assert all(np.isnan(value) for value in result.metrics.values())
