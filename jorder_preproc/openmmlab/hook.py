"""Deraining in any MMEngine Runner, whatever its config."""

from __future__ import annotations

import itertools
from typing import Any, Literal, get_args

from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import Runner

from jorder_preproc.openmmlab.batch import DerainingPreprocessor, DerainInputs
from jorder_preproc.openmmlab.pipelines import (
    Outcome,
    check_loaders,
    dataset_pipelines,
    insert,
    nested_type_names,
)
from jorder_preproc.openmmlab.transforms import JorderDerain
from jorder_preproc.registry import HOOKS

Stage = Literal["train", "val", "test"]
When = Literal["test", "val", "both"]
Where = Literal["pipeline", "batch"]


@HOOKS.register_module()
class DerainHook(Hook):  # type: ignore[misc]
    """Derain every image a Runner validates or tests on, exactly once.

    With `where="pipeline"` the transform is inserted right behind the image loader and runs in
    the loader's workers, at the images' own size. With `where="batch"` whole batches are
    derained on the model's device, at the size the pipeline gave them; see `DerainInputs`.
    Where the config derains already, in either way, nothing more is done.

    Args:
        when: derain for `val`, `test`, or `both`.
        train: derain the images of training as well.
        where: `pipeline` or `batch`.
        **derain: arguments of `jorder_preproc.JorderDerain`; no device with `where="batch"`.

    Raises:
        TypeError: unknown argument.
        ValueError: unknown `when` or `where`, a device with `where="batch"`, or as of
            `JorderDerain`; at the start of a stage, if no pipeline of its data set loads images.
        FileNotFoundError: no such weights.
    """

    priority = "LOW"  # other hooks see the batch as it was loaded before an iteration

    def __init__(
        self,
        when: When = "both",
        train: bool = False,
        where: Where = "pipeline",
        **derain: Any,
    ):
        for name, value, choices in (("when", when, When), ("where", where, Where)):
            if value not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}"
                )
        if where == "batch" and derain.get("device") is not None:
            raise ValueError(
                f"with where='batch' the derainer runs where the model does, got device="
                f"{derain['device']!r}; leave device out"
            )
        self._stages: set[Stage] = {"val", "test"} if when == "both" else {when}
        if train:
            self._stages.add("train")
        self._transform = JorderDerain(**derain)
        self._inputs = DerainInputs(train=True, **derain) if where == "batch" else None
        self._by_batch: dict[Stage, bool] = {}  # decided at the first batch of a stage
        self._loaded: Any = None

    def _before_epoch(self, runner: Runner, mode: Stage = "train") -> None:
        """Insert the transform, unless it is there or batches are to be derained."""
        self._by_batch.pop(mode, None)
        if mode not in self._stages or self._inputs is not None or _derains(runner.model):
            return
        loop = getattr(runner, f"{mode}_loop")
        pipelines = dataset_pipelines(loop.dataloader.dataset)
        outcomes = [insert(steps, self._transform) for steps in pipelines]
        check_loaders(outcomes, f"the {mode} data set")
        if Outcome.INSERTED in outcomes:
            _restart_workers(loop)
            runner.logger.info(f"DerainHook: {mode} images are derained behind their loader")

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: Stage = "train"
    ) -> None:
        """Put derained inputs into the batch."""
        if mode not in self._by_batch:
            self._by_batch[mode] = self._derains_batches(runner, mode)
        if self._by_batch[mode]:
            assert self._inputs is not None
            self._loaded = data_batch["inputs"]
            host = _data_preprocessor(runner.model)
            data_batch["inputs"] = self._inputs.derain(host, self._loaded)

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: Stage = "train",
    ) -> None:
        """Put the loaded inputs back."""
        if self._by_batch.get(mode):
            data_batch["inputs"] = self._loaded

    def _derains_batches(self, runner: Runner, mode: Stage) -> bool:
        """Whether this hook is to derain batches of a stage that nothing else derains."""
        if self._inputs is None or mode not in self._stages:
            return False
        hooks = (hook for hook in runner.hooks if isinstance(hook, DerainHook))
        first = next(hook for hook in hooks if hook._inputs is not None and mode in hook._stages)
        dataset = getattr(runner, f"{mode}_loop").dataloader.dataset
        steps = itertools.chain.from_iterable(dataset_pipelines(dataset))
        derained = any("JorderDerain" in nested_type_names(step) for step in steps)
        return self is first and not derained and not _derains(runner.model)


def _data_preprocessor(model: Any) -> Any:
    """The data preprocessor of a model, within wrappers for several GPUs or for TTA."""
    while hasattr(model, "module"):
        model = model.module
    return model.data_preprocessor


def _derains(model: Any) -> bool:
    """Whether the config lets the data preprocessor derain."""
    return isinstance(_data_preprocessor(model), DerainingPreprocessor)


def _restart_workers(loop: Any) -> None:
    """Restart workers that were forked with the pipeline as it was."""
    loader = loop.dataloader
    if loader.num_workers == 0:
        return
    loader._iterator = None  # of persistent workers
    # IterBasedTrainLoop of MMEngine 0.10.7 starts its workers before any hook runs
    endless = getattr(loop, "dataloader_iterator", None)
    if endless is not None and endless._iterator is not None:
        if isinstance(loader.sampler, InfiniteSampler):
            # its stream of indices ended with the iterator
            loader.sampler.indices = loader.sampler._indices_of_rank()
        loop.dataloader_iterator = type(endless)(loader)
