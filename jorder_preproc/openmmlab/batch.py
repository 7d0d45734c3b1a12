"""Derain whole batches on the model's device, before the host's data preprocessor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from jorder_preproc import transforms
from jorder_preproc.functional.derain import Dry
from jorder_preproc.openmmlab.pictures import change_tensor


class DerainInputs:
    """Forward pre-hook of a data preprocessor: derains `data['inputs']`.

    The inputs are what pipelines pack: BGR, 0 to 255, not yet normalised or padded. Those of
    equal size run together.

    Args:
        model: a name of `list_models`.
        weights: a safetensors file; None takes the shipped ones.
        tile: see `derain`.
        train: derain batches of training, too.
        deveil, deveil_weights: see `jorder_preproc.JorderDerain`; `deveil="auto"` decides for
            each picture of a batch.
        dry: what becomes of pictures without rain, decided for each picture of a batch; see
            `jorder_preproc.JorderDerain`.

    Raises:
        ValueError: unknown model, another `deveil` or `dry`, or weights of a deveil network
            without `deveil`.
        FileNotFoundError: no such weights.
    """

    def __init__(
        self,
        model: str = "jorder_e_lite",
        weights: str | Path | None = None,
        tile: int | None = None,
        train: bool = False,
        deveil: transforms.Deveil = False,
        deveil_weights: str | Path | None = None,
        dry: Dry = "leave",
    ):
        self.train = train
        # without a device, but it reports mistakes now rather than at the first batch
        self._change = transforms.JorderDerain(
            model, weights, None, tile, deveil, deveil_weights, dry
        )

    def __call__(
        self, host: BaseDataPreprocessor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Change the arguments of `host.forward(data, training=False)`."""
        given = dict(zip(("data", "training"), args, strict=False)) | kwargs
        if given.get("training", False) and not self.train:
            return args, kwargs
        data = dict(host.cast_data(given["data"]))
        data["inputs"] = self._derain(data["inputs"], str(host.device))
        return (), given | {"data": data}

    def _derain(self, inputs: Tensor | Sequence[Tensor], device: str) -> Tensor | list[Tensor]:
        if self._change.device != device:  # the model may move between two batches
            old = self._change
            self._change = transforms.JorderDerain(
                old.model, old.weights, device, old.tile, old.deveil, old.deveil_weights, old.dry
            )
        if isinstance(inputs, Tensor):
            return change_tensor(inputs, self._change)
        groups: dict[tuple[torch.Size, torch.dtype], list[int]] = {}
        for index, image in enumerate(inputs):
            groups.setdefault((image.shape, image.dtype), []).append(index)
        results = list(inputs)
        for indices in groups.values():
            batch = torch.stack([inputs[index] for index in indices])
            for index, image in zip(indices, change_tensor(batch, self._change), strict=True):
                results[index] = image
        return results


def derain_inputs(host: BaseDataPreprocessor, change: DerainInputs) -> RemovableHandle:
    """Derain what `host` gets, until the handle is removed."""
    return host.register_forward_pre_hook(change, with_kwargs=True)


def derain_next_step(
    model: nn.Module, step: str, host: BaseDataPreprocessor, change: DerainInputs
) -> None:
    """Derain what `host` gets during the next call of one of the model's steps, and only then.

    The model is afterwards what it was, however the call ends: MMEngine tells hooks nothing of
    an iteration that raises. Called again before that step, it does no more.

    Args:
        model: with or without wrappers.
        step: its method: `train_step`, `val_step` or `test_step`.
        host: its data preprocessor.
        change: what to do.
    """
    if not isinstance(getattr(model, step), _DerainedStep):
        setattr(model, step, _DerainedStep(model, step, host, change))


class _DerainedStep:
    """Stands before a step of a model for one call, and derains its batch."""

    def __init__(
        self, model: nn.Module, step: str, host: BaseDataPreprocessor, change: DerainInputs
    ):
        self._model, self._step = model, step
        self._host, self._change = host, change
        self._of_instance = vars(model).get(step)
        self._method = getattr(model, step)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._of_instance is None:
            delattr(self._model, self._step)  # the class's is there again
        else:
            setattr(self._model, self._step, self._of_instance)
        handle = derain_inputs(self._host, self._change)
        try:
            return self._method(*args, **kwargs)
        finally:
            handle.remove()


def derains_inputs(host: BaseDataPreprocessor) -> bool:
    """True if `host` derains what it gets already."""
    return any(isinstance(hook, DerainInputs) for hook in host._forward_pre_hooks.values())
