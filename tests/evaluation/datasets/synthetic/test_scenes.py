"""The drawn scenes: repeatable, and their labels are what is seen in the image."""

import numpy as np
import pytest
from PIL import Image

from evaluation.datasets.synthetic import scenes
from evaluation.datasets.synthetic.scenes import LABELS, OBJECTS, draw_portrait, draw_scene

SIZE = (96, 128)
CAR, BUS, TREE = (OBJECTS.index(name) for name in ("car", "bus", "tree"))


@pytest.fixture
def canvases(monkeypatch):
    """The canvas of every scene drawn."""
    kept = []
    finish = scenes._Canvas.finish

    def keep(canvas):
        kept.append(canvas)
        return finish(canvas)

    monkeypatch.setattr(scenes._Canvas, "finish", keep)
    return kept


def canvas(seed=0):
    return scenes._Canvas(np.random.default_rng(seed), SIZE)


@pytest.mark.parametrize("draw", [draw_scene, lambda rng: draw_portrait(rng, CAR)])
def test_a_seed_gives_one_scene(draw):
    first, again, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("image", "labels", "boxes", "classes", "difficult"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.image, other.image)


def test_every_class_is_drawn_large_in_its_portrait():
    for kind, name in enumerate(OBJECTS):
        for seed in range(3):
            scene = draw_portrait(np.random.default_rng([seed, kind]), kind)
            assert scene.image.shape == (336, 336, 3) and scene.image.dtype == np.uint8
            areas = np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)
            assert scene.classes[areas.argmax()] == kind, name
            assert not scene.difficult[areas.argmax()], name
            # a bicycle is mostly air
            assert (scene.labels == 1 + LABELS.index(name)).mean() > 0.015, name


def test_scenes_show_every_class():
    seen, labels, difficult = set(), set(), []
    for seed in range(40):
        scene = draw_scene(np.random.default_rng(seed))
        assert scene.image.shape == (384, 512, 3) and scene.labels.shape == (384, 512)
        seen |= set(scene.classes.tolist())
        labels |= set(np.unique(scene.labels).tolist())
        difficult += scene.difficult.tolist()
    assert seen == set(range(len(OBJECTS)))
    assert labels == set(range(1, 1 + len(LABELS)))
    assert 0.02 < np.mean(difficult) < 0.3


def test_boxes_are_what_pillow_finds_of_each_object(canvases):
    hidden = 0
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), SIZE)
        drawn = canvases.pop()
        expected = []
        for number, (kind, total) in enumerate(drawn.objects):
            mask = drawn.instances == number
            left, top, right, bottom = Image.fromarray(mask).getbbox() or (0, 0, 0, 0)
            if mask.sum() < 0.25 * total or min(right - left, bottom - top) < 0.03 * SIZE[0]:
                hidden += 1
                continue
            difficult = mask.sum() < 0.5 * total or min(right - left, bottom - top) < 0.06 * SIZE[0]
            expected.append((left, top, right - 1, bottom - 1, kind, difficult))
            assert (scene.labels[mask] == 1 + LABELS.index(OBJECTS[kind])).all()
        actual = np.column_stack([scene.boxes, scene.classes, scene.difficult])
        np.testing.assert_array_equal(actual, np.reshape(expected, (-1, 6)))
        # what is no object is sky, ground or wall
        assert (scene.labels[drawn.instances < 0] <= len(scenes.STUFF)).all()
    assert hidden > 0


@pytest.mark.parametrize("kind", range(len(OBJECTS)), ids=OBJECTS)
def test_labels_are_where_the_image_changes(kind):
    drawn = canvas(3)
    drawn.light.shadow = 0.0
    drawn.image[:] = 100.0  # no colour of an object is near
    drawn.place(kind, 60, 64, 85)
    painted = drawn.image[..., 0] < 51  # at least half covered
    labelled = drawn.labels == 1 + LABELS.index(OBJECTS[kind])
    # edges may be off: two parts that meet cover a pixel twice
    assert (painted & labelled).sum() > 0.97 * (painted | labelled).sum()
    untouched = drawn.image[..., 0] == 100.0
    assert not (untouched & labelled).any()


def test_hidden_objects_are_not_annotated():
    drawn = canvas()
    drawn.place(CAR, 20, 64, 80)
    drawn.place(BUS, 60, 64, 90)
    scene = drawn.finish()
    assert scene.classes.tolist() == [BUS]
    assert not (scene.labels == 1 + LABELS.index("car")).any()


@pytest.mark.parametrize(("seen", "expected"), [(0.35, [True]), (0.65, [False]), (0.15, [])])
def test_mostly_hidden_objects_are_difficult(seen, expected):
    drawn = canvas()
    drawn.place(BUS, 40, 64, 80)
    columns = np.nonzero((drawn.instances == 0).any(axis=0))[0]
    first = columns[round(seen * len(columns))]
    drawn.instances[:, first:] = -1
    scene = drawn.finish()
    assert scene.difficult.tolist() == expected
    assert all(box[2] == first - 1 for box in scene.boxes)


@pytest.mark.parametrize(("side", "expected"), [(5, [True]), (24, [False]), (2, [])])
def test_small_objects_are_difficult(side, expected):
    drawn = canvas()
    drawn.place(CAR, side, 64, 80)
    assert drawn.finish().difficult.tolist() == expected


def test_objects_outside_the_image_leave_no_trace():
    drawn = canvas()
    before = drawn.labels.copy()
    for centre in (-200, 400):
        drawn.place(TREE, 30, centre, 80)
    scene = drawn.finish()
    assert len(scene.boxes) == 0 and scene.boxes.shape == (0, 4)
    np.testing.assert_array_equal(scene.labels, before)
