import numpy as np
import pytest

from evaluation.report.overlays import draw_boxes, draw_labels, rgb_of_pipeline


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_images_of_pipelines_are_shown_in_their_colours(image):
    np.testing.assert_array_equal(rgb_of_pipeline(image[..., ::-1].astype(np.float32)), image)
    grey = image[..., 0]
    for loaded in (grey, grey[..., None]):
        np.testing.assert_array_equal(rgb_of_pipeline(loaded), np.stack([grey] * 3, 2))


def test_labels_match_a_pixel_loop(image):
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 1, 3], (60, 90))
    palette = np.array([[255, 0, 0], [0, 200, 10], [1, 2, 3], [7, 8, 9]])
    expected = image.astype(float)
    for y, x in np.ndindex(60, 90):
        expected[y, x] = (image[y, x] + palette[labels[y, x]].astype(float)) / 2
    before = image.copy()
    drawn = draw_labels(image, labels, palette)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    assert np.abs(drawn - expected).max() <= 0.5
    np.testing.assert_array_equal(image, before)


def test_boxes_are_outlined_and_leave_the_rest(image):
    before = image.copy()
    drawn = draw_boxes(image, [[20.2, 30.4, 70, 50]], ["dog"], [0.9])
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
    one = draw_boxes(image, [[20, 30, 70, 50]], ["dog"], [1])
    boxes = [[5, 20, 40, 55], [50, 20, 80, 55]]
    other = draw_boxes(image[::-1], boxes, ["cat", "dog"], [0.5, 0.4])
    np.testing.assert_array_equal(one[50, 30], other[55, 60])
    assert (other[55, 20] != other[55, 60]).any()


def test_the_best_score_is_on_top(image):
    boxes, names = [[20, 20, 70, 50], [20, 20, 70, 50]], ["dog", "cat"]
    cat = draw_boxes(image, boxes[:1], ["cat"], [1])[50, 60]
    dog = draw_boxes(image, boxes[:1], ["dog"], [1])[50, 60]
    np.testing.assert_array_equal(draw_boxes(image, boxes, names, [0.2, 0.9])[50, 60], cat)
    np.testing.assert_array_equal(draw_boxes(image, boxes, names, [0.9, 0.2])[50, 60], dog)


def test_boxes_may_stick_out_be_empty_or_none(image):
    boxes = [[-30, -30, 200, 300], [85, 58, 85, 58]]
    drawn = draw_boxes(image, boxes, ["a", "b" * 80], [0.5, 0.6])
    assert drawn.shape == image.shape
    np.testing.assert_array_equal(drawn[59, 40], drawn[0, 89])
    np.testing.assert_array_equal(draw_boxes(image, [], [], []), image)
    np.testing.assert_array_equal(draw_boxes(image, np.empty((0, 4)), [], np.empty(0)), image)
    tiny = np.zeros((1, 1, 3), np.uint8)
    assert draw_boxes(tiny, [[0, 0, 1, 1]], ["dog"], [1]).shape == (1, 1, 3)
