"""The four conditions under which a model is tested: rain and deraining put into its pipeline.

Nothing else of a config differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mmengine.config import Config, ConfigDict

import evaluation.downstream.cache  # noqa: F401  (registers its class)
from evaluation.downstream.checkpoints import file_sha256
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import Dry
from jorder_preproc.models.weights import DEVEIL_WEIGHTS, find_weights
from jorder_preproc.openmmlab.config import derains_inputs
from jorder_preproc.openmmlab.pipelines import (
    Outcome,
    check_loaders,
    dataset_pipelines,
    datasets,
    insert_derain,
    insert_rain,
    type_names,
)
from jorder_preproc.transforms import Deveil, JorderDerain


@dataclass(frozen=True)
class Condition:
    """Whether it rains, and whether the pictures are derained."""

    rain: bool
    derain: bool


CONDITIONS: Mapping[str, Condition] = {
    "clean": Condition(rain=False, derain=False),
    "rainy": Condition(rain=True, derain=False),
    "derained": Condition(rain=True, derain=True),
    "clean_derained": Condition(rain=False, derain=True),
}
"""In the order in which they are tested and shown; the last one measures harm."""


@dataclass(frozen=True)
class Rain:
    """The rain to put on: see `synthesize_rain`."""

    preset: str = "heavy"
    seed: int = 0


@dataclass(frozen=True)
class Derain:
    """The derainer to put in.

    Attributes:
        model: a name of `list_models`.
        weights: a safetensors file; None takes the shipped ones.
        where: `pipeline`, behind the loader at the pictures' own size, on the CPU; or
            `batch`, at the size the pipeline gives, where the model runs.
        cache: folder for derained pictures, with `pipeline`; None keeps none.
        deveil, deveil_weights: take off the veil of rain accumulation, too; see
            `jorder_preproc.JorderDerain`.
        dry: what becomes of pictures without rain; see `jorder_preproc.JorderDerain`.

    Raises:
        ValueError: unknown model, `where`, `deveil` or `dry`, a cache with `batch`, or weights
            of a deveil network without `deveil`.
        FileNotFoundError: no such weights.
    """

    model: str = "jorder_e_lite"
    weights: str | None = None
    where: Literal["pipeline", "batch"] = "pipeline"
    cache: str | None = None
    deveil: Deveil = False
    deveil_weights: str | None = None
    dry: Dry = "leave"

    def __post_init__(self) -> None:
        if self.where not in ("pipeline", "batch"):
            raise UserError(f"where must be pipeline or batch, got {self.where!r}")
        if self.cache is not None and self.where == "batch":
            raise UserError("the cache holds pictures of pipelines: leave it out with batch")
        self.transform()  # reports what else is wrong

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return file_sha256(find_weights(self.weights or self.model))

    @property
    def deveil_sha256(self) -> str | None:
        """SHA-256 of the deveil network's weights; None where the veil is left."""
        if not self.deveil:
            return None
        return file_sha256(find_weights(self.deveil_weights or DEVEIL_WEIGHTS))

    def transform(self) -> JorderDerain:
        """What derains pictures as the pipeline does."""
        return JorderDerain(
            self.model,
            self.weights,
            deveil=self.deveil,
            deveil_weights=self.deveil_weights,
            dry=self.dry,
        )


def apply_condition(cfg: Config, condition: Condition, rain: Rain, derain: Derain) -> None:
    """Put rain and deraining into the test pipelines of a config, in place.

    Raises:
        ValueError: the config rains or derains by itself, or loads no images.
    """
    dataset = cfg.test_dataloader["dataset"]
    _check_untouched(cfg)
    if condition.rain:
        outcomes = [_insert_rain(config, rain) for config in datasets(dataset)]
        check_loaders(outcomes, "test_dataloader")
    if not condition.derain:
        return
    arguments = {
        "model": derain.model,
        "weights": derain.weights,
        "deveil": derain.deveil,
        "deveil_weights": derain.deveil_weights,
        "dry": derain.dry,
    }
    if derain.where == "batch":
        hook = ConfigDict(type="jorder_preproc.DerainHook", where="batch", **arguments)
        cfg.default_hooks = ConfigDict({**(cfg.get("default_hooks") or {}), "derain": hook})
        return
    kind = "jorder_preproc.JorderDerain"
    if derain.cache is not None:
        kind = "CachedJorderDerain"
        arguments |= {"cache": derain.cache}
    step = ConfigDict(type=kind, **arguments)
    outcomes = [insert_derain(p, step) for p in dataset_pipelines(dataset)]
    check_loaders(outcomes, "test_dataloader")


def _insert_rain(dataset: Mapping[str, Any], rain: Rain) -> Outcome:
    step = ConfigDict(
        type="jorder_preproc.SynthesizeRain",
        preset=rain.preset,
        seed=rain.seed,
        data_root=dataset.get("data_root"),
    )
    return insert_rain(dataset.get("pipeline") or [], step)


def _check_untouched(cfg: Config) -> None:
    hooks = [*(cfg.get("default_hooks") or {}).values(), *(cfg.get("custom_hooks") or [])]
    kinds = [type_names(hook) for hook in hooks if hook]
    for pipeline in dataset_pipelines(cfg.test_dataloader["dataset"]):
        kinds += [type_names(step) for step in pipeline]
    found = set().union(*kinds) & {"JorderDerain", "SynthesizeRain", "DerainHook"}
    if found or derains_inputs(cfg):
        raise UserError(
            f"the config has {', '.join(sorted(found)) or 'a deraining data preprocessor'} "
            "already: give it without, rain and deraining are put in for each condition"
        )
