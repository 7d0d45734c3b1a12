"""Object detection (Table 5): any mmdet config, VOC 2007 for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evaluation.downstream.host_config import read_config
from evaluation.downstream.records import Record
from evaluation.downstream.runner import Subject
from evaluation.metrics.base import Scores
from evaluation.report.overlays import draw_boxes

_SHOWN_SCORE = 0.3
_SAME = 1e-6


def make_subject(config: str, checkpoint: str, data: str | None = None) -> Subject:
    """A detector of mmdet on the test set of its config; arguments as for segmentation."""
    return Subject(read_config(config, data), checkpoint, record)


def record(sample: Any, classes: Sequence[str]) -> Record:
    """Boxes of one picture, found and true."""
    found, true, ignored = sample.pred_instances, sample.gt_instances, sample.ignored_instances
    boxes = [_corners(true.bboxes), _corners(ignored.bboxes)]
    labels = [_whole(part.labels).reshape(-1) for part in (true, ignored)]
    return {
        "boxes": _corners(found.bboxes),
        "scores": found.scores.cpu().numpy().astype(np.float32),
        "labels": _whole(found.labels),
        "true_boxes": np.concatenate(boxes),
        "true_labels": np.concatenate(labels),
        "true_ignored": np.repeat([False, True], [len(part) for part in labels]),
    }


def check_with_host(records: Sequence[Record], scores: Scores, classes: Sequence[str]) -> None:
    """Compare our mAP with that of mmdet's VOCMetric on the same records.

    Raises:
        RuntimeError: they differ.
    """
    from mmdet.evaluation import VOCMetric

    metric = VOCMetric(metric="mAP", eval_mode="11points")
    # without `dataset_type`, which would call the classes what VOC calls its twenty
    metric.dataset_meta = {"classes": tuple(classes)}
    for one, order in zip(records, _ranks(records), strict=True):
        truth = {
            name: {
                "bboxes": torch.from_numpy(one["true_boxes"][chosen]),
                "labels": torch.from_numpy(one["true_labels"][chosen]),
            }
            for name, chosen in (
                ("gt_instances", ~one["true_ignored"]),
                ("ignored_instances", one["true_ignored"]),
            )
        }
        found = {
            "bboxes": torch.from_numpy(one["boxes"]),
            "scores": torch.from_numpy(order),
            "labels": torch.from_numpy(one["labels"]),
        }
        metric.process({}, [{**truth, "pred_instances": found}])
    # not `evaluate`, which would put the same records of all processes together
    expected = float(metric.compute_metrics(metric.results)["mAP"])
    ours = scores.metrics["mAP"]
    if not abs(expected - ours) < _SAME:
        raise RuntimeError(
            f"mmdet's VOCMetric gives an mAP of {expected:.6f}, our own re-scoring {ours:.6f}: "
            "please report this with the folder of the records"
        )


def _ranks(records: Sequence[Record]) -> list[np.ndarray]:
    """Scores with the same order, and none twice: mmdet leaves the order of equal ones open."""
    scores = [record["scores"] for record in records]
    ranks = np.empty(sum(map(len, scores)))
    ranks[np.argsort(-np.concatenate(scores), kind="stable")] = -np.arange(len(ranks))
    return np.split(ranks, np.cumsum([len(part) for part in scores])[:-1])


def truth(record: Record, classes: Sequence[str]) -> str:
    """What is in the picture, in words."""
    return _count(record["true_labels"][~record["true_ignored"]], classes)


def said(record: Record, classes: Sequence[str]) -> str:
    """What was found in the picture, in words."""
    return _count(record["labels"][record["scores"] >= _SHOWN_SCORE], classes)


def draw(image: np.ndarray, record: Record, classes: Sequence[str]) -> np.ndarray:
    """The boxes over an RGB picture."""
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
