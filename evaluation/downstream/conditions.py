"""Rain and deraining inserted into a test pipeline, for the four conditions of a table.

Nothing else of a config differs between the conditions.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device

import evaluation.downstream.cache  # noqa: F401  (registers its class)
from evaluation.downstream.checkpoints import file_sha256
from evaluation.report.schema import Derainer, Rain
from jorder_preproc.errors import UserError
from jorder_preproc.int8 import load_ranges, ranges_file
from jorder_preproc.models import load_deveil_model, load_model
from jorder_preproc.models.weights import DEVEIL_MODEL, find_weights
from jorder_preproc.openmmlab.config import derains_inputs
from jorder_preproc.openmmlab.pipelines import (
    check_loaders,
    dataset_pipelines,
    datasets,
    insert,
    nested_type_names,
    type_names,
)
from jorder_preproc.transforms import JorderDerain

RAINY = frozenset({"rainy", "derained"})
"""Conditions with rain."""

DERAINED = frozenset({"derained", "clean_derained"})
"""Conditions with deraining."""


def check_derainer(derainer: Derainer) -> None:
    """Report a derainer that cannot be used, before images are blamed.

    Raises:
        ValueError: unknown name, weights that do not fit, a cache with `batch`, or weights of a
            deveil network without deveiling; a runtime of the CPU with `batch` on a GPU; int8
            without ranges.
        FileNotFoundError: no such weights.
    """
    if derainer.cache is not None and derainer.where == "batch":
        raise UserError("the cache holds images of pipelines: leave it out with batch")
    if derainer.deveil_weights is not None and not derainer.deveil:
        raise UserError("--deveil-weights are for --deveil on or auto; give one of these, too")
    on_cpu = derainer.backend in ("onnxruntime", "openvino")
    if derainer.where == "batch" and on_cpu and get_device() != "cpu":
        raise UserError(
            f"batches are on {get_device()}, {derainer.backend} runs on the CPU; add --device cpu, "
            "or derain in the pipeline"
        )
    network = load_model(derainer.name, derainer.weights)
    if derainer.precision == "int8":
        load_ranges(network)
    if derainer.deveil:
        load_deveil_model(derainer.deveil_weights)


def ranges_sha256(derainer: Derainer) -> str | None:
    """SHA-256 of the ranges of its features, in int8; else None."""
    if derainer.precision != "int8":
        return None
    return file_sha256(ranges_file(find_weights(derainer.name, derainer.weights)))


def weights_sha256(derainer: Derainer) -> tuple[str, str | None]:
    """SHA-256 of the weights, and of the deveil network's; the latter None without deveiling."""
    network = file_sha256(find_weights(derainer.name, derainer.weights))
    if not derainer.deveil:
        return network, None
    return network, file_sha256(find_weights(DEVEIL_MODEL, derainer.deveil_weights))


def make_transform(derainer: Derainer) -> JorderDerain:
    """The transform that derains images as the pipeline does."""
    return JorderDerain(**_arguments(derainer))


def _arguments(derainer: Derainer) -> dict[str, Any]:
    arguments = asdict(derainer)
    del arguments["where"], arguments["cache"]
    return {"model": arguments.pop("name"), **arguments}


def apply_condition(cfg: Config, condition: str, rain: Rain, derainer: Derainer) -> Config:
    """A copy of a config with the rain and the deraining of a condition in its test pipelines.

    Raises:
        ValueError: the config rains or derains by itself, or loads no images.
    """
    _check_untouched(cfg)
    cfg = copy.deepcopy(cfg)
    dataset = cfg.test_dataloader["dataset"]
    if condition in RAINY:
        outcomes = []
        for config in datasets(dataset):
            step = ConfigDict(type="jorder_preproc.SynthesizeRain", **asdict(rain))
            step.data_root = config.get("data_root")
            outcomes.append(insert(config.get("pipeline") or [], step))
        check_loaders(outcomes, "test_dataloader")
    if condition not in DERAINED:
        return cfg
    arguments = _arguments(derainer)
    if derainer.where == "batch":
        hook = ConfigDict(type="jorder_preproc.DerainHook", where="batch", **arguments)
        cfg.default_hooks = ConfigDict({**(cfg.get("default_hooks") or {}), "derain": hook})
        return cfg
    kind = "jorder_preproc.JorderDerain"
    if derainer.cache is not None:
        kind = "CachedJorderDerain"
        arguments |= {"cache": derainer.cache}
    step = ConfigDict(type=kind, **arguments)
    outcomes = [insert(p, step) for p in dataset_pipelines(dataset)]
    check_loaders(outcomes, "test_dataloader")
    return cfg


def _check_untouched(cfg: Config) -> None:
    hooks = [*(cfg.get("default_hooks") or {}).values(), *(cfg.get("custom_hooks") or [])]
    kinds = [type_names(hook) for hook in hooks if hook]
    for pipeline in dataset_pipelines(cfg.test_dataloader["dataset"]):
        kinds += [nested_type_names(step) for step in pipeline]
    found = set().union(*kinds) & {"JorderDerain", "SynthesizeRain", "DerainHook"}
    if found or derains_inputs(cfg):
        raise UserError(
            f"the config has {', '.join(sorted(found)) or 'a deraining data preprocessor'} "
            "already: give it without, rain and deraining are inserted for each condition"
        )
