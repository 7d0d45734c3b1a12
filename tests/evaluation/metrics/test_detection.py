import itertools

import numpy as np
import pytest

from evaluation.metrics import SCORE, detection
from tests.evaluation.metrics.records import BOX, OTHER, one_image, random_detections


def slow_iou(a, b):
    """By counting pixels; corners are inside."""
    pixels = []
    for box in (a, b):
        x1, y1, x2, y2 = map(int, box)
        pixels.append(set(itertools.product(range(x1, x2 + 1), range(y1, y2 + 1))))
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


def slow_ap(records, label):
    """The development kit's loop, over all detections by score."""
    detections, taken, truths = [], set(), 0
    for image, record in enumerate(records):
        truths += sum((record["target_labels"] == label) & ~record["target_ignored"])
        for index in np.flatnonzero(record["labels"] == label):
            detections.append((-record["scores"][index], image, index))
    if not truths:
        return np.nan
    right, wrong, curve = 0, 0, []
    for _, image, index in sorted(detections):
        record = records[image]
        best, match = 0.0, None
        # those that count first, in case two overlap equally
        for ignored in (False, True):
            for true in range(len(record["target_labels"])):
                if (
                    record["target_labels"][true] != label
                    or record["target_ignored"][true] != ignored
                ):
                    continue
                overlap = slow_iou(record["boxes"][index], record["target_boxes"][true])
                if overlap > best:
                    best, match = overlap, true
        if best >= 0.5 and record["target_ignored"][match]:
            continue
        if best >= 0.5 and (image, match) not in taken:
            taken.add((image, match))
            right += 1
        else:
            wrong += 1
        curve.append((right, right / (right + wrong)))
    total = 0
    for tenths in range(11):
        # 0.1 * 3 > 0.3, as in mmdet
        reached = [p for r, p in curve if r / truths >= tenths * 0.1]
        total += max(reached, default=0)
    return total / 11


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scores", [None, 4])
def test_matches_a_slow_loop(seed, scores):
    records = random_detections(np.random.default_rng(seed), 30, 4, scores)
    result = SCORE["detection"](records, 4)
    expected = [slow_ap(records, label) for label in range(4)]
    assert result.class_metric == "AP"
    assert 0.05 < expected[0] < 0.95 and np.isnan(expected[3])
    np.testing.assert_allclose(result.class_values, expected, rtol=1e-12)
    assert list(result.metrics) == ["mAP"]
    assert result.metrics["mAP"] == pytest.approx(np.mean(expected[:3]), rel=1e-12)


def test_resamples_match_repeated_records(monkeypatch):
    rng = np.random.default_rng(5)
    records = random_detections(rng, 12, 4)
    measure = detection.score(records, 4).measures["mAP"]
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=20)
    counts[0] = 1
    expected = []
    for row in counts:
        repeated = [records[index] for index in np.arange(12).repeat(row)]
        aps = [slow_ap(repeated, label) for label in range(4)]
        expected.append(np.nanmean(aps))
    np.testing.assert_allclose(measure(counts), expected, rtol=1e-12)
    monkeypatch.setattr(detection, "_ELEMENTS_AT_ONCE", 100)
    np.testing.assert_allclose(measure(counts), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("record", "ap"),
    [
        (one_image([BOX], [0.9], [BOX]), 1),
        (one_image([], [], [BOX]), 0),
        (one_image([OTHER, BOX], [0.9, 0.8], [BOX]), 1 / 2),
        # the second on the same box is wrong, but lies behind all recall
        (one_image([BOX, BOX], [0.9, 0.8], [BOX]), 1),
        # recalls 0 to 0.5 at precision 1, then 2 of 3
        (one_image([BOX, BOX, OTHER], [0.9, 0.8, 0.7], [BOX, OTHER]), (6 + 5 * 2 / 3) / 11),
        # on an ignored box: as if it were not there, any number of times
        (one_image([OTHER, OTHER, BOX], [0.9, 0.8, 0.7], [BOX, OTHER], [False, True]), 1),
        # 6 of 11 wide: 60 / (100 + 110 - 60) is below a half, 7 of 11 is 70 / 140
        (one_image([[4, 0, 14, 9]], [0.9], [BOX]), 0),
        (one_image([[3, 0, 13, 9]], [0.9], [BOX]), 1),
        (one_image([BOX], [0.9], [BOX], [True]), np.nan),
        (one_image([], [], []), np.nan),
    ],
)
def test_by_hand(record, ap):
    result = detection.score([record], 1)
    assert result.metrics["mAP"] == pytest.approx(ap, nan_ok=True)
    assert result.class_values[0] == pytest.approx(ap, nan_ok=True)


def test_a_class_that_a_resample_does_not_hold_is_left_out():
    with_truth = one_image([BOX], [0.9], [BOX])
    second = {**with_truth, "labels": np.ones(1, int), "target_labels": np.ones(1, int)}
    second["boxes"] = second["boxes"] + 100
    measure = detection.score([with_truth, second, one_image([], [], [])], 2).measures["mAP"]
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 3, 0], [0, 0, 3]])
    np.testing.assert_array_equal(measure(counts), [0.5, 1, 0, np.nan])


def test_refuses():
    record = one_image([BOX], [0.9], [BOX]) | {"labels": np.array([2])}
    message = r"labels of record 0 must be in \[0, 2\), got 0 to 2"
    with pytest.raises(ValueError, match=message):
        detection.score([record], 2)
