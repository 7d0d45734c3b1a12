"""Classifiers of timm for MMEngine's Runner, and their pipeline."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import timm
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS, TRANSFORMS
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from evaluation.downstream.checkpoints import file_sha256, read_state
from jorder_preproc.errors import UserError


def build_network(
    name: str, classes: int | None = None, checkpoint: str | None = None
) -> nn.Module:
    """Build a classifier with its weights.

    Args:
        name: a model of timm, such as `vgg19.tv_in1k`, or an importable `module:function` that
            returns a network from (N, 3, H, W) to logits (N, C).
        classes: number of classes; None takes the model's own.
        checkpoint: file of weights (safetensors, or a pickle of plain tensors); None takes the
            pretrained ones, which timm downloads, or random ones where `classes` is given.

    Raises:
        ValueError: no such model, no such function, or weights that do not fit.
        FileNotFoundError: no such checkpoint.
    """
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if ":" in name:
        network = _find_function(name)(**options)
    else:
        _check_timm(name)
        pretrained = checkpoint is None and classes is None
        network = timm.create_model(name, pretrained=pretrained, **options)
    if checkpoint is not None:
        state = read_state(checkpoint)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{checkpoint} does not fit {name}: {error}") from error
    return network


def source_sha256(name: str) -> str:
    """SHA-256 of the file that defines the function of `module:function`."""
    function = _find_function(name)
    try:
        path = inspect.getsourcefile(function)
    except TypeError:  # a callable object
        path = None
    return file_sha256(path or inspect.getfile(importlib.import_module(name.partition(":")[0])))


def input_settings(name: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The input settings of a model, from timm's `resolve_data_config`.

    Args:
        name: see `build_network`; a function's network may carry `pretrained_cfg`.
        overrides: keys of `resolve_data_config`, such as `input_size`, `mean`, `std` (of
            values in [0, 1]), `crop_pct` and `interpolation`.

    Raises:
        UserError: a value that cannot be meant.
    """
    _check_settings(overrides or {})
    if ":" in name:
        found = getattr(_find_function(name)(), "pretrained_cfg", {})
    else:
        _check_timm(name)
        config = timm.get_pretrained_cfg(name)
        found = {} if config is None else config.to_dict()
    return dict(timm.data.resolve_data_config(dict(overrides or {}), pretrained_cfg=dict(found)))


@MODELS.register_module()
class Classifier(BaseModel):
    """A classifier with its normalisation.

    Args:
        name, classes, checkpoint: see `build_network`.
        settings: see `input_settings`.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        classes: int | None = None,
        checkpoint: str | None = None,
    ):
        super().__init__(
            dict(
                type="ImgDataPreprocessor",
                mean=[255 * value for value in settings["mean"]],
                std=[255 * value for value in settings["std"]],
                bgr_to_rgb=True,
            )
        )
        self.network = build_network(name, classes, checkpoint)

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement], mode: str = "tensor"
    ) -> Any:
        """`loss`: dict of losses; `predict`: the samples with `scores`, (C,); else the logits."""
        logits = self.network(inputs)
        if mode == "loss":
            targets = torch.tensor([sample.target for sample in data_samples], device=logits.device)
            return {"loss": cross_entropy(logits, targets)}
        if mode == "predict":
            for sample, scores in zip(data_samples, logits.float().softmax(1), strict=True):
                sample.scores = scores
            return data_samples
        return logits


@TRANSFORMS.register_module()
class LoadPillowImage:
    """Read `img_path` with Pillow, as timm does: `img`, uint8 BGR (H, W, 3)."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        with Image.open(results["img_path"]) as image:
            pixels = np.asarray(image.convert("RGB"))
        return {**results, "img": np.ascontiguousarray(pixels[..., ::-1])}


@TRANSFORMS.register_module()
class ResizeAndPack:
    """Resize and crop with timm's transform and pack; the model normalises.

    Args:
        settings: see `input_settings`.
        augment: options of timm's transform for training; None takes the one for tests.
    """

    def __init__(self, settings: Mapping[str, Any], augment: Mapping[str, Any] | None = None):
        options = {} if augment is None else {"is_training": True, **augment}
        self._change = timm.data.create_transform(**settings, **options, normalize=False)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        image = self._change(Image.fromarray(results["img"][..., ::-1]))
        meta = {"img_path": results["img_path"]}
        sample = BaseDataElement(metainfo=meta, target=int(results["target"]))
        return {"inputs": image.flip(0), "data_samples": sample}


_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")


def _check_settings(given: Mapping[str, Any]) -> None:
    """timm takes any number, and pads, crops or scales to nonsense with it."""
    size = given.get("input_size")
    if size is not None and min(size) < 1:
        raise UserError(f"the input size must be at least 1 px, got {size[-1]}")
    crop = given.get("crop_pct", 1)
    if not 0 < crop <= 1:
        raise UserError(f"crop_pct is a share of the image in (0, 1], such as 0.875, got {crop}")
    for what in ("mean", "std"):
        values = given.get(what, (0.5,))
        if not all(0 <= value <= 1 for value in values) or (what == "std" and min(values) == 0):
            raise UserError(
                f"{what} is of values in [0, 1], such as 0.485 (123.675 / 255), got {values}"
            )
    interpolation = given.get("interpolation", "bilinear")
    if interpolation not in _INTERPOLATIONS:
        raise UserError(
            f"interpolation must be one of {', '.join(_INTERPOLATIONS)}, got {interpolation!r}"
        )


def _check_timm(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if timm.is_model(architecture) and tag and not timm.is_model_pretrained(name):
        tagged = timm.list_models(f"{architecture}.*", pretrained=True)
        raise UserError(
            f"timm {timm.__version__} has no weights {tag!r} of {architecture}; it has "
            + (", ".join(tagged) or "none")
        )
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('.')[0]}*")[:5]
        raise UserError(
            f"timm {timm.__version__} has no model {name!r}; "
            + (f"near it: {', '.join(close)}" if close else "see timm.list_models()")
        )


def _find_function(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"expected module:function of a network, got {name!r}: {error}") from error
