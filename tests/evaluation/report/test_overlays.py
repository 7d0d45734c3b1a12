import numpy as np
import pytest

from evaluation.report.overlays import draw_boxes, draw_labels


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_labels_match_a_pixel_loop(image):
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 1, 2, 255], (60, 90))
    palette = [[255, 0, 0], [0, 200, 10], [7, 8, 9]]
    expected = image.astype(float)
    for y, x in np.ndindex(60, 90):
        if labels[y, x] != 255:
            expected[y, x] = (image[y, x] + np.array(palette[labels[y, x]], float)) / 2
    before = image.copy()
    drawn = draw_labels(image, labels, palette)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    assert np.abs(drawn - expected).max() <= 0.5
    np.testing.assert_array_equal(drawn[labels == 255], image[labels == 255])
    np.testing.assert_array_equal(image, before)


def test_another_label_can_be_ignored(image):
    labels = np.zeros((60, 90), np.uint8)
    np.testing.assert_array_equal(draw_labels(image, labels, [[1, 2, 3]], ignore=0), image)


def test_boxes_are_outlined_and_leave_the_rest(image):
    before = image.copy()
    drawn = draw_boxes(image, [[20.2, 30.4, 70, 50]], ["dog"])
    np.testing.assert_array_equal(image, before)
    outline = drawn[50, 21]
    for y, x in ((50, 45), (40, 20), (40, 70), (30, 60)):
        np.testing.assert_array_equal(drawn[y, x], outline)
    np.testing.assert_array_equal(drawn[48:49, 22:69], image[48:49, 22:69])
    np.testing.assert_array_equal(drawn[52:], image[52:])
    np.testing.assert_array_equal(drawn[:30], image[:30])
    # the caption is in the box's upper left corner, white on the colour of the box
    caption = drawn[31:44, 22:40].reshape(-1, 3)
    assert (caption == outline).all(1).any() and (caption > 200).all(1).any()


def test_a_class_has_one_colour(image):
    one = draw_boxes(image, [[20, 30, 70, 50]], ["dog"])
    other = draw_boxes(image[::-1], [[5, 20, 40, 55], [50, 20, 80, 55]], ["cat", "dog"])
    np.testing.assert_array_equal(one[50, 30], other[55, 60])
    assert (other[55, 20] != other[55, 60]).any()


def test_the_best_score_is_on_top(image):
    boxes, names = [[20, 20, 70, 50], [20, 20, 70, 50]], ["dog", "cat"]
    cat = draw_boxes(image, boxes[:1], ["cat"])[50, 60]
    dog = draw_boxes(image, boxes[:1], ["dog"])[50, 60]
    np.testing.assert_array_equal(draw_boxes(image, boxes, names, [0.2, 0.9])[50, 60], cat)
    np.testing.assert_array_equal(draw_boxes(image, boxes, names, [0.9, 0.2])[50, 60], dog)


def test_boxes_may_stick_out_be_empty_or_none(image):
    drawn = draw_boxes(image, [[-30, -30, 200, 300], [85, 58, 85, 58]], ["a", "b" * 80])
    assert drawn.shape == image.shape
    np.testing.assert_array_equal(drawn[59, 40], drawn[0, 89])
    np.testing.assert_array_equal(draw_boxes(image, [], []), image)
    np.testing.assert_array_equal(draw_boxes(image, np.empty((0, 4)), [], np.empty(0)), image)
    tiny = np.zeros((1, 1, 3), np.uint8)
    assert draw_boxes(tiny, [[0, 0, 1, 1]], ["dog"]).shape == (1, 1, 3)


def test_mistakes_are_named(image):
    with pytest.raises(ValueError, match=r"image must be uint8 RGB \(H, W, 3\), got float64"):
        draw_boxes(image / 255, [], [])
    with pytest.raises(ValueError, match=r"boxes must be \(n, 4\).*\(1, 3\)"):
        draw_boxes(image, [[1, 2, 3]], ["dog"])
    with pytest.raises(ValueError, match="names must be one for each of 1 boxes, got 2"):
        draw_boxes(image, [[1, 2, 3, 4]], ["dog", "cat"])
    with pytest.raises(ValueError, match=r"scores must be \(1,\)"):
        draw_boxes(image, [[1, 2, 3, 4]], ["dog"], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"label_map must be integers \(60, 90\).*\(90, 60\)"):
        draw_labels(image, np.zeros((90, 60), int), [[0, 0, 0]])
    with pytest.raises(ValueError, match=r"palette must be \(C, 3\)"):
        draw_labels(image, np.zeros((60, 90), int), [0, 0, 0])
    with pytest.raises(ValueError, match=r"labels below 1 or 255 to ignore, got \[-1, 1\]"):
        labels = np.zeros((60, 90), int)
        labels[0, :2] = (1, -1)
        draw_labels(image, labels, [[0, 0, 0]])
