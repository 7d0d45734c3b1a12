"""Derain whole batches on the model's device, before the host's data preprocessor."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from jorder_preproc.openmmlab.images import change_tensor
from jorder_preproc.transforms import JorderDerain


class DerainInputs:
    """Forward pre-hook of a data preprocessor: derains `data['inputs']`.

    The inputs are as packed by pipelines: BGR, 0 to 255, before normalisation and padding.
    Images of equal size run together.

    Args:
        train: derain batches of training as well.
        **derain: arguments of `jorder_preproc.JorderDerain` without `device`; `deveil="auto"`
            and `dry` decide for each image of a batch.

    Raises:
        TypeError: unknown argument.
        ValueError, FileNotFoundError: see `JorderDerain`.
    """

    def __init__(self, train: bool = False, **derain: Any):
        self.train = train
        self._arguments = {**derain, "device": None}
        self._derainer = JorderDerain(**self._arguments)

    def __call__(
        self, host: BaseDataPreprocessor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Change the arguments of `host.forward(data, training=False)`."""
        given = dict(zip(("data", "training"), args, strict=False)) | kwargs
        if given.get("training", False) and not self.train:
            return args, kwargs
        inputs = self.derain(host, given["data"]["inputs"])
        return (), given | {"data": {**given["data"], "inputs": inputs}}

    def derain(self, host: BaseDataPreprocessor, inputs: Any) -> Any:
        """Derain a batch on the device of `host`.

        Args:
            host: the data preprocessor the batch goes to.
            inputs: images (N, C, H, W), a list of images (C, H, W), or a list of such batches
                (test-time augmentation).
        """
        if not isinstance(inputs, Tensor) and inputs and not isinstance(inputs[0], Tensor):
            return [self.derain(host, batch) for batch in inputs]
        inputs, device = host.cast_data(inputs), str(host.device)
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


def derain_inputs(host: BaseDataPreprocessor, change: DerainInputs) -> RemovableHandle:
    """Derain the inputs of `host` until the handle is removed."""
    return host.register_forward_pre_hook(change, with_kwargs=True)


def derains_inputs(host: BaseDataPreprocessor) -> bool:
    """Whether `host` derains its inputs already."""
    return any(isinstance(hook, DerainInputs) for hook in host._forward_pre_hooks.values())
