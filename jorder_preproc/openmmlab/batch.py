"""Derain whole batches on the model's device, before the host's data preprocessor."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from jorder_preproc.openmmlab.images import change_tensor
from jorder_preproc.transforms import JorderDerain


class DerainInputs:
    """Derain the inputs of a data preprocessor.

    They are as packed by pipelines: BGR, 0 to 255, before normalisation and padding.
    Images of equal size run together.

    Args:
        train: derain batches of training as well.
        **derain: arguments of `jorder_preproc.JorderDerain` without `device`: a named network
            runs on that of the model, a ready one where it is; `deveil="auto"` and `dry` decide
            for each image of a batch.

    Raises:
        TypeError: unknown argument.
        ValueError, FileNotFoundError: see `JorderDerain`.
    """

    def __init__(self, train: bool = False, **derain: Any):
        self.train = train
        self._arguments = {**derain, "device": None}
        self._derainer = JorderDerain(**self._arguments)

    def derain(self, host: BaseDataPreprocessor, inputs: Any) -> Any:
        """Derain a batch on the device of `host`.

        Args:
            host: the data preprocessor the batch goes to.
            inputs: images (N, C, H, W), a list of images (C, H, W), or a list of such batches
                (test-time augmentation).
        """
        several = not isinstance(inputs, Tensor) and len(inputs) > 0
        if several and (not isinstance(inputs[0], Tensor) or inputs[0].ndim == 4):
            return [self.derain(host, batch) for batch in inputs]
        inputs = host.cast_data(inputs)
        # a ready network stays where it is
        named = isinstance(self._arguments.get("model", ""), str)
        device = str(host.device) if named else None
        if self._derainer.device != device:  # the model may move between two batches
            self._derainer = JorderDerain(**self._arguments | {"device": device})

        def change(images: Tensor) -> Tensor:
            return change_tensor(images, lambda rgb: self._derainer.transform(rgb, {}))

        if isinstance(inputs, Tensor):
            return change(inputs)
        groups: dict[tuple[torch.Size, torch.dtype], list[int]] = {}
        for index, image in enumerate(inputs):
            groups.setdefault((image.shape, image.dtype), []).append(index)
        results = list(inputs)
        for indices in groups.values():
            batch = torch.stack([inputs[index] for index in indices])
            for index, image in zip(indices, change(batch), strict=True):
                results[index] = image
        return results


class DerainingPreprocessor(BaseDataPreprocessor):  # type: ignore[misc]
    """Mixin that makes a data preprocessor derain batches first, on the model's device.

    The resulting class replaces the type of the host's data preprocessor in a config:
    `model = dict(data_preprocessor=dict(type='jorder_preproc.DerainDetDataPreprocessor'))`.

    Args:
        derain: arguments of `DerainInputs`; its errors are raised here, too.
        **host: arguments of the host's class.
    """

    def __init__(self, derain: dict[str, Any] | None = None, **host: Any):
        super().__init__(**host)
        self._derainer = DerainInputs(**(derain or {}))

    def forward(self, data: dict[str, Any], training: bool = False) -> Any:
        """The host's `forward` of the derained batch."""
        if self._derainer.train or not training:
            data = {**data, "inputs": self._derainer.derain(self, data["inputs"])}
        return super().forward(data, training)
