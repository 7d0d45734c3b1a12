"""Published scores on clean images, which a trustworthy setup reproduces."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evaluation.datasets.layouts.base import SET_SIZES
from jorder_preproc.errors import UserError

TOLERANCE = 0.003
"""Largest accepted difference from a published score: 0.3 points."""

_ROUNDING = 1e-9

REFERENCES: Mapping[tuple[str, str], tuple[Mapping[str, float], str]] = {
    ("classification", "vgg19.tv_in1k"): ({"top-1": 0.72400, "top-5": 0.90878}, "timm"),
    ("segmentation", "pspnet_r50-d8_4xb4-80k_ade20k-512x512"): ({"mIoU": 0.4113}, "mmseg"),
    ("segmentation", "segformer_mit-b0_8xb2-160k_ade20k-512x512"): ({"mIoU": 0.3741}, "mmseg"),
    ("detection", "faster-rcnn_r50_fpn_1x_voc0712"): ({"mAP": 0.795}, "mmdet"),
    ("detection", "ssd300_voc0712"): ({"mAP": 0.765}, "mmdet"),
}
"""Scores on the whole set, as fractions, and who published them, by task and model.

A model is named as in timm, or as the file of its config in mmdet or mmseg.
"""

_CAUSES = {
    "classification": (
        "numbers of the classes that are not in the order of the sorted wnids (the development "
        "kit's are not); another resize, crop or interpolation, or other means, than the model's "
        "own; weights of another training"
    ),
    "segmentation": (
        "reduce_zero_label missing, or applied to maps that were reduced before; maps that were "
        "resized with the images; another scale or crop than the config's; a checkpoint of "
        "another schedule or of another config"
    ),
    "detection": (
        "difficult boxes counted, or their flags missing; average precision by area in place of "
        "11 points; another test set than VOC 2007's; BGR and RGB swapped, or another scale than "
        "the config's; a checkpoint of another config"
    ),
}


class CleanScoreError(UserError):
    """A known model misses its published score on clean images."""


def check_clean(task: str, model: str, images: int, metrics: Mapping[str, float]) -> None:
    """Stop where the clean score of a known model on the whole set is not the published one.

    Unknown models, and parts of a set, pass.

    Args:
        task: `classification`, `segmentation` or `detection`.
        model: see `REFERENCES`.
        images: how many were scored.
        metrics: their scores by name, as fractions.

    Raises:
        CleanScoreError: a score is missing or differs by more than `TOLERANCE`; the message
            names usual causes.
    """
    if (task, model) not in REFERENCES or images != SET_SIZES[task]:
        return
    published, source = REFERENCES[task, model]
    found = {name: metrics.get(name, math.nan) for name in published}
    missed = [
        f"{name} is {100 * found[name]:.2f} %, published {100 * value:.2f} %"
        for name, value in published.items()
        if not abs(found[name] - value) <= TOLERANCE + _ROUNDING  # also for NaN
    ]
    if not missed:
        return
    raise CleanScoreError(
        f"{model} on clean images: {'; '.join(missed)} ({source}, {images:,} images). More than "
        f"{100 * TOLERANCE:.1f} points apart, so no other row can be trusted. Usual causes: "
        f"{_CAUSES[task]}. `python -m evaluation doctor` checks the data set"
    )
