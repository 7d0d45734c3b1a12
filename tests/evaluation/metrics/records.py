"""Records of detection."""

import numpy as np

BOX, OTHER = [0, 0, 9, 9], [50, 50, 59, 59]


def random_boxes(rng, count):
    """Whole pixels in a small image, so that many overlap, some by just a half."""
    corner = rng.integers(0, 20, (count, 2))
    return np.hstack([corner, corner + rng.integers(5, 20, (count, 2))]).astype(np.float32)


def random_detections(rng, images, classes, scores=None):
    """Some images are empty, some boxes ignored; the last class has no target box that counts.

    Args:
        scores: how many different ones; None for all different.
    """
    records = []
    for _ in range(images):
        true, found = rng.integers(0, 5), rng.integers(0, 9)
        target_boxes = random_boxes(rng, true)
        labels = rng.integers(0, classes, true)
        boxes, said = random_boxes(rng, found), rng.integers(0, classes, found)
        if true:
            # most of them at a target box, sometimes the same one
            aim, near = rng.integers(0, true, found), rng.random(found) < 0.6
            boxes[near], said[near] = target_boxes[aim[near]], labels[aim[near]]
        ignored = (rng.random(true) < 0.3) | (labels == classes - 1)
        confidence = rng.random(found) if scores is None else rng.integers(scores, size=found)
        records.append(
            {
                "boxes": boxes + rng.integers(-2, 3, (found, 4)).astype(np.float32),
                "scores": confidence.astype(np.float32),
                "labels": said,
                "target_boxes": target_boxes,
                "target_labels": labels,
                "target_ignored": ignored,
            }
        )
    return records


def one_image(boxes, scores, target_boxes, ignored=None):
    """Of one class."""
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.zeros(len(boxes), int),
        "target_boxes": np.array(target_boxes, np.float32).reshape(-1, 4),
        "target_labels": np.zeros(len(target_boxes), int),
        "target_ignored": np.array(ignored or [False] * len(target_boxes), bool),
    }
