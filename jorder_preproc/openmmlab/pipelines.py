"""Insert rain and deraining behind the loader of a pipeline, built or in a config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from enum import Enum
from typing import Any

from jorder_preproc.errors import UserError

_LOADER = re.compile(r"Load.*Image.*|InferencerLoader")


class Outcome(Enum):
    """What `insert_derain` or `insert_rain` did to a pipeline."""

    INSERTED = "inserted"
    PRESENT = "it is there already"
    NO_LOADER = "it loads no image"


def insert_derain(pipeline: list[Any], derain: Any) -> Outcome:
    """Insert `derain` behind the image loader, and behind rain that follows the loader.

    Loaders are recognised by the name of their class or of its bases, as by MMEngine's
    inferencers.

    Args:
        pipeline: transforms, or configs of transforms; changed in place.
        derain: what to insert.
    """
    return _insert(pipeline, derain, "JorderDerain")


def insert_rain(pipeline: list[Any], rain: Any) -> Outcome:
    """Insert `rain` right behind the image loader; otherwise as `insert_derain`."""
    return _insert(pipeline, rain, "SynthesizeRain")


def datasets(dataset: MutableMapping[str, Any]) -> Iterator[MutableMapping[str, Any]]:
    """The config of a data set, and those of the data sets it wraps."""
    yield dataset
    wrapped = [dataset["dataset"]] if isinstance(dataset.get("dataset"), Mapping) else []
    for inner in [*wrapped, *dataset.get("datasets", ())]:
        yield from datasets(inner)


def dataset_pipelines(dataset: MutableMapping[str, Any]) -> Iterator[list[Any]]:
    """The pipelines in the config of a data set and of those it wraps."""
    for config in datasets(dataset):
        if config.get("pipeline") is not None:
            yield config["pipeline"]


def _insert(pipeline: list[Any], step: Any, kind: str) -> Outcome:
    names = [type_names(step) for step in pipeline]
    loader = next((i for i, kinds in enumerate(names) if any(map(_LOADER.fullmatch, kinds))), None)
    if loader is None:
        return Outcome.NO_LOADER
    if any(kind in kinds for kinds in names):
        return Outcome.PRESENT
    position = loader + 1
    while kind == "JorderDerain" and position < len(names) and "SynthesizeRain" in names[position]:
        position += 1
    pipeline.insert(position, step)
    return Outcome.INSERTED


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
