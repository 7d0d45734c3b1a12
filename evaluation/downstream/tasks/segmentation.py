"""Semantic segmentation (Table 5): any mmseg config, ADE20K for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from evaluation.downstream.runner import Subject
from evaluation.metrics.base import Record
from evaluation.report.overlays import draw_labels


def make_subject(cfg: Config, checkpoint: str) -> Subject:
    """A segmenter; the label that the config's IoUMetric leaves out is 255 by default."""
    evaluators = cfg.get("test_evaluator") or []
    evaluators = [evaluators] if isinstance(evaluators, Mapping) else evaluators
    ignored = next((int(e["ignore_index"]) for e in evaluators if "ignore_index" in e), 255)
    identity = {"ignored_label": str(ignored)}
    return Subject(cfg, checkpoint, partial(record, ignored=ignored), identity=identity)


def record(sample: Any, classes: Sequence[str], ignored: int = 255) -> Record:
    """Areas of one image as mmseg's IoUMetric counts them, and the predicted label map."""
    from mmseg.evaluation import IoUMetric

    label = sample.gt_sem_seg.data.squeeze(0).cpu()
    predicted = sample.pred_sem_seg.data.squeeze(0).cpu()
    areas = IoUMetric.intersect_and_union(predicted, label.to(predicted), len(classes), ignored)
    kept = predicted.numpy().astype(np.uint8 if len(classes) < 256 else np.uint16)
    return {
        "areas": np.stack([area.numpy() for area in areas]).astype(np.int64),
        "map": cv2.imencode(".png", kept)[1].reshape(-1),
    }


def describe_target(record: Record, classes: Sequence[str]) -> str:
    """The target classes by area, largest first."""
    return _largest(record["areas"][3], classes)


def describe_prediction(record: Record, classes: Sequence[str]) -> str:
    """The predicted classes by area, largest first."""
    return _largest(record["areas"][2], classes)


def draw(image: np.ndarray, record: Record, classes: Sequence[str]) -> np.ndarray:
    """The predicted labels over an RGB image."""
    labels = cv2.imdecode(record["map"], cv2.IMREAD_UNCHANGED)
    # a fixed hue per class, far from those of neighbouring indices
    hues = (np.arange(len(classes)) * 0.618034 * 180 % 180).astype(np.uint8)
    levels = np.full_like(hues, 200)
    palette = cv2.cvtColor(np.stack([hues, levels, levels], 1)[None], cv2.COLOR_HSV2RGB)[0]
    return draw_labels(image, labels, palette)


def _largest(areas: np.ndarray, classes: Sequence[str]) -> str:
    shares = areas / max(areas.sum(), 1)
    order = np.argsort(-shares, kind="stable")[:4]
    return ", ".join(f"{classes[k]} {100 * shares[k]:.0f} %" for k in order if shares[k] >= 0.01)
