"""The camera's effects: repeatable, bounded, and without a direction."""

import numpy as np
import pytest

from training.camera import CameraEffects, blotches, photograph

GREY = np.full((48, 64, 3), 128, np.uint8)


def test_a_seed_gives_one_image():
    first, again, other = (photograph(GREY, np.random.default_rng(seed)) for seed in (2, 2, 3))
    assert first.shape == GREY.shape and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (GREY == 128).all()


def test_some_images_stay_and_none_is_lost():
    rng = np.random.default_rng(0)
    changes = [np.abs(photograph(GREY, rng).astype(int) - 128).mean() for _ in range(300)]
    assert 0.02 < np.mean(np.array(changes) < 1) < 0.5
    assert max(changes) < 60


def test_there_is_no_direction_in_it():
    """Differences along rows, columns and both diagonals are equally strong, on average."""
    rng = np.random.default_rng(1)
    square = np.full((64, 64, 3), 128, np.uint8)
    sums = np.zeros(4)
    for _ in range(400):
        change = photograph(square, rng).astype(float).mean(2)
        across, down = np.diff(change, axis=1), np.diff(change, axis=0)
        falling = change[1:, 1:] - change[:-1, :-1]
        rising = change[1:, :-1] - change[:-1, 1:]
        sums += [(step**2).mean() for step in (across, down, falling, rising)]
    assert sums[0] == pytest.approx(sums[1], rel=0.1)
    assert sums[2] == pytest.approx(sums[3], rel=0.1)


def test_blotches_are_soft():
    rng = np.random.default_rng(4)
    for _ in range(20):
        stain = blotches((40, 50), rng)
        assert stain.shape[:2] == (40, 50) and stain.shape[2] in (1, 3)
        assert np.abs(stain).max() < 1.6
        assert np.abs(np.diff(stain, axis=0)).mean() < 0.5 * stain.std()


def test_only_the_image_changes():
    results = {"img": GREY.copy(), "gt_seg_map": np.ones((48, 64))}
    np.random.seed(0)
    changed = CameraEffects(1.0)(dict(results))
    assert changed["gt_seg_map"] is results["gt_seg_map"]
    np.random.seed(0)
    np.testing.assert_array_equal(CameraEffects(1.0)(dict(results))["img"], changed["img"])
    assert CameraEffects(0.0)(dict(results))["img"] is results["img"]
