"""COCO-style average precision, through pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluation.metrics.base import Record


def coco_ap(records: Sequence[Record], classes: int) -> dict[str, float]:
    """COCO AP (mean over IoU 0.50 to 0.95) and AP at IoU 0.50, at most 100 boxes per image.

    Ignored boxes are COCO's crowds: detections on them do not count.

    Args:
        records, classes: of which `evaluation.metrics.detection.score` could be computed.

    Returns:
        `COCO AP` and `COCO AP50`; NaN where no box counts.
    """
    targets: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, record in enumerate(records):
        boxes = _boxes(image, record["target_boxes"], record["target_labels"], len(targets))
        for box, ignored in zip(boxes, record["target_ignored"], strict=True):
            targets.append({**box, "iscrowd": int(ignored)})
        boxes = _boxes(image, record["boxes"], record["labels"], len(found))
        for box, confidence in zip(boxes, record["scores"], strict=True):
            found.append({**box, "iscrowd": 0, "score": float(confidence)})
    with contextlib.redirect_stdout(io.StringIO()):
        data_sets = []
        for annotations in (targets, found):
            data_set = COCO()
            data_set.dataset = {
                "images": [{"id": image} for image in range(len(records))],
                "categories": [{"id": label} for label in range(classes)],
                "annotations": annotations,
            }
            data_set.createIndex()
            data_sets.append(data_set)
        evaluator = COCOeval(*data_sets, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    # -1 stands for undefined
    average, at_half = (float(value) if value >= 0 else np.nan for value in evaluator.stats[:2])
    return {"COCO AP": average, "COCO AP50": at_half}


def _boxes(
    image: int, corners: NDArray[Any], labels: NDArray[Any], before: int
) -> list[dict[str, Any]]:
    """COCO's annotations: x, y, width, height; numbered from 1, as 0 means no match."""
    sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).astype(float)
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": int(label),
            "bbox": box,
            "area": box[2] * box[3],
        }
        for number, (box, label) in enumerate(zip(sizes.tolist(), labels, strict=True), before + 1)
    ]
