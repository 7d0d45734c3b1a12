"""Image classification (Table 4): any timm model on ImageNet's validation set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

import evaluation.downstream.tasks.timm_model  # noqa: F401  (registers its classes)
from evaluation.datasets.layouts.classes import read_class_list
from evaluation.datasets.layouts.imagenet import image_folder, list_imagenet
from evaluation.downstream.checkpoints import state_sha256
from evaluation.downstream.runner import Subject
from evaluation.downstream.tasks.timm_model import build_network, input_settings, source_sha256
from evaluation.metrics.base import Record
from jorder_preproc.errors import UserError

_KEPT = 10  # labels per record, for the paper's top-10


@DATASETS.register_module()
class ImageNetValidation(BaseDataset):
    """Images with their class indices; see `list_imagenet` for the layouts.

    Args:
        data_root: folder.
        labels: file of labels, for a flat folder.
        classes: file of all classes, in the order of the model's outputs.
        **options: of MMEngine's BaseDataset.
    """

    def __init__(
        self,
        data_root: str,
        labels: str | None = None,
        classes: str | None = None,
        **options: Any,
    ):
        self._images = list_imagenet(data_root, labels, classes)
        super().__init__(
            metainfo={"classes": self._images.class_list.names}, data_root=data_root, **options
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict for each image: `img_path` and `target`."""
        images = self._images
        return [
            {"img_path": str(images.root / path), "target": target}
            for path, target in zip(images.paths, images.targets, strict=True)
        ]


def make_subject(
    data: str,
    model: str,
    checkpoint: str | None = None,
    *,
    outputs: int | None = None,
    labels: str | None = None,
    classes: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    batch_size: int = 16,
) -> Subject:
    """A classifier on labelled images.

    Args:
        data, labels, classes: see `list_imagenet`.
        model, checkpoint: see `build_network`.
        outputs: number of classes of the model; None takes those of `classes` for weights of
            one's own, and else the model's.
        overrides: see `input_settings`.
        batch_size: of the test.
    """
    settings = input_settings(model, overrides)
    if outputs is None and classes is not None and checkpoint is not None and ":" not in model:
        outputs = len(read_class_list(Path(classes)).classes)
    arguments = dict(name=model, settings=settings, classes=outputs, checkpoint=checkpoint)
    pipeline = [dict(type="LoadPillowImage"), dict(type="ResizeAndPack", settings=settings)]
    cfg = Config(
        dict(
            default_scope="mmengine",
            model=dict(type="Classifier", **arguments),
            test_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                dataset=dict(
                    type="ImageNetValidation",
                    # image ids are relative to this folder, whether ROOT or ROOT/val was given
                    data_root=str(image_folder(data)),
                    labels=labels,
                    classes=classes,
                    pipeline=pipeline,
                    test_mode=True,
                ),
            ),
        )
    )
    identity = {}
    if checkpoint is None:  # weights behind a name may change
        state = build_network(model, outputs).state_dict()
        identity["weights_sha256"] = state_sha256(state)
    if ":" in model:
        identity["source_sha256"] = source_sha256(model)
    return Subject(cfg, checkpoint, record, loads_itself=True, identity=identity)


def record(sample: Any, classes: Sequence[str]) -> Record:
    """The top labels of one image, and the target."""
    if len(sample.scores) != len(classes):
        raise UserError(
            f"the model has {len(sample.scores)} outputs, the data set {len(classes)} classes; "
            "give --classes a file with one line for each output of the model, in their order"
        )
    scores, labels = torch.topk(sample.scores, min(_KEPT, len(sample.scores)))
    return {
        "target": np.array(sample.target, np.int64),
        "labels": labels.cpu().numpy().astype(np.int64),
        "scores": scores.cpu().numpy().astype(np.float32),
    }


def describe_target(record: Record, classes: Sequence[str]) -> str:
    """The target class."""
    return classes[int(record["target"])]


def describe_prediction(record: Record, classes: Sequence[str]) -> str:
    """The predicted class."""
    return classes[int(record["labels"][0])]


def draw(image: np.ndarray, record: Record, classes: Sequence[str]) -> np.ndarray:
    """The image unchanged: a class has no place in it."""
    return image
