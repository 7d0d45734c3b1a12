"""Insert rain and deraining behind the loader of a pipeline, built or in a config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from jorder_preproc.errors import UserError

_LOADER = re.compile(r"Load.*Image.*|InferencerLoader")


class Outcome(Enum):
    """What `insert` did to a pipeline."""

    INSERTED = "inserted"
    PRESENT = "it is there already"
    NO_LOADER = "it loads no image"


def insert(pipeline: list[Any], step: Any) -> Outcome:
    """Insert rain right behind the image loader, or deraining behind the loader and its rain.

    Loaders are recognised by the name of their class or of its bases, as by MMEngine's
    inferencers. Steps within others, such as RandomApply, count as those.

    Args:
        pipeline: transforms, or configs of transforms; changed in place.
        step: a `SynthesizeRain`, or a transform that derains; or its config.
    """
    kind = "SynthesizeRain" if "SynthesizeRain" in type_names(step) else "JorderDerain"
    names = [nested_type_names(there) for there in pipeline]
    loads = (any(map(_LOADER.fullmatch, type_names(there))) for there in pipeline)
    loader = next((number for number, one in enumerate(loads) if one), None)
    if loader is None:
        return Outcome.NO_LOADER
    if any(kind in kinds for kinds in names):
        return Outcome.PRESENT
    position = loader + 1
    while kind == "JorderDerain" and position < len(names) and "SynthesizeRain" in names[position]:
        position += 1
    pipeline.insert(position, step)
    return Outcome.INSERTED


def datasets(dataset: Any) -> Iterator[Any]:
    """A data set, built or its config, and the data sets it wraps."""
    yield dataset
    inner = _member(dataset, "dataset")
    wrapped = [] if inner is None or isinstance(inner, str) else [inner]
    for one in [*wrapped, *(_member(dataset, "datasets") or ())]:
        yield from datasets(one)


def dataset_pipelines(dataset: Any) -> Iterator[list[Any]]:
    """The pipelines of a data set, built or its config, and of those it wraps."""
    for one in datasets(dataset):
        pipeline = _member(one, "pipeline")
        if pipeline is not None:
            yield getattr(pipeline, "transforms", pipeline)


def _member(dataset: Any, name: str) -> Any:
    return dataset.get(name) if isinstance(dataset, Mapping) else getattr(dataset, name, None)


def check_loaders(outcomes: Iterable[Outcome], where: str) -> None:
    """Raise ValueError unless one of the pipelines in `where` loads images."""
    if all(outcome is Outcome.NO_LOADER for outcome in outcomes):
        raise UserError(
            f"{where} has no pipeline with an image loader: expected a transform such as "
            "LoadImageFromFile, got none; put dict(type='jorder_preproc.JorderDerain') behind "
            "your own loader by hand"
        )


def type_names(step: Any) -> set[str]:
    """Names of the class of a transform, built or in a config, and of its bases.

    A config with a textual type gives this name alone, without its scope.
    """
    kind = step.get("type") if isinstance(step, Mapping) else type(step)
    if isinstance(kind, str):
        return {kind.rsplit(".", 1)[-1]}
    return {parent.__name__ for parent in getattr(kind, "__mro__", ())}


def nested_type_names(step: Any) -> set[str]:
    """`type_names` of a transform and of the transforms within it, as RandomApply's."""
    if isinstance(step, Sequence) and not isinstance(step, str):
        return set().union(*map(nested_type_names, step))
    inner = _member(step, "transforms")
    return type_names(step) | (set() if inner is None else nested_type_names(inner))
