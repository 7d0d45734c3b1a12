"""Object detection (Table 5): any mmdet config, VOC 2007 for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from evaluation.downstream.runner import Subject
from evaluation.metrics.base import Record
from evaluation.report.overlays import draw_boxes
from jorder_preproc.errors import UserError

_SHOWN_SCORE = 0.3


def make_subject(cfg: Config, checkpoint: str) -> Subject:
    """A detector."""
    return Subject(cfg, checkpoint, record)


def record(sample: Any, classes: Sequence[str]) -> Record:
    """Predicted and target boxes of one image."""
    found, true, ignored = sample.pred_instances, sample.gt_instances, sample.ignored_instances
    boxes = [_corners(true.bboxes), _corners(ignored.bboxes)]
    labels = [_whole(part.labels).reshape(-1) for part in (true, ignored)]
    predicted = _whole(found.labels)
    if len(predicted) and predicted.max() >= len(classes):
        raise UserError(
            f"the model predicts class {predicted.max()}, counted from 0, and the data set has "
            f"{len(classes)} classes; give a config and weights of these classes"
        )
    return {
        "boxes": _corners(found.bboxes),
        "scores": found.scores.cpu().numpy().astype(np.float32),
        "labels": predicted,
        "target_boxes": np.concatenate(boxes),
        "target_labels": np.concatenate(labels),
        "target_ignored": np.repeat([False, True], [len(part) for part in labels]),
    }


def describe_target(record: Record, classes: Sequence[str]) -> str:
    """The counted target boxes, by class."""
    return _count(record["target_labels"][~record["target_ignored"]], classes)


def describe_prediction(record: Record, classes: Sequence[str]) -> str:
    """The confident predicted boxes, by class."""
    return _count(record["labels"][record["scores"] >= _SHOWN_SCORE], classes)


def draw(image: np.ndarray, record: Record, classes: Sequence[str]) -> np.ndarray:
    """The confident predicted boxes over an RGB image."""
    shown = record["scores"] >= _SHOWN_SCORE
    names = [classes[label] for label in record["labels"][shown]]
    return draw_boxes(image, record["boxes"][shown], names, record["scores"][shown])


def _corners(boxes: Any) -> np.ndarray:
    """Float32 (n, 4) of a tensor or of mmdet's own type of boxes."""
    tensor = getattr(boxes, "tensor", boxes)
    return np.asarray(torch.as_tensor(tensor).cpu(), np.float32).reshape(-1, 4)


def _whole(numbers: Any) -> np.ndarray:
    """Int64 of a tensor on any device, or of an array."""
    return np.asarray(torch.as_tensor(numbers).cpu(), np.int64)


def _count(labels: np.ndarray, classes: Sequence[str]) -> str:
    counts = Counter(classes[label] for label in labels)
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "nothing"
