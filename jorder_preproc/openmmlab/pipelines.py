"""Where the derain transform goes in a pipeline, built or as a config: behind the loader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

_LOADER = re.compile(r"Load.*Image.*|InferencerLoader")


class Outcome(Enum):
    """What `insert_derain` did to a pipeline."""

    INSERTED = "inserted"
    PRESENT = "it derains already"
    NO_LOADER = "it loads no image"


def insert_derain(pipeline: list[Any], derain: Any) -> Outcome:
    """Insert `derain` behind the image loader, and behind rain put on right there.

    Loaders are told by their names, as MMEngine's inferencers do, or by the name of a class
    they inherit from.

    Args:
        pipeline: transforms, or configs of transforms; changed in place.
        derain: what to insert.
    """
    names = [type_names(step) for step in pipeline]
    loader = next((i for i, kinds in enumerate(names) if any(map(_LOADER.fullmatch, kinds))), None)
    if loader is None:
        return Outcome.NO_LOADER
    if any("JorderDerain" in kinds for kinds in names):
        return Outcome.PRESENT
    position = loader + 1
    while position < len(names) and "SynthesizeRain" in names[position]:
        position += 1
    pipeline.insert(position, derain)
    return Outcome.INSERTED


def check_loaders(outcomes: Iterable[Outcome], where: str) -> None:
    """Raise ValueError unless one of the pipelines in `where` loads images."""
    if all(outcome is Outcome.NO_LOADER for outcome in outcomes):
        raise ValueError(
            f"{where} has no pipeline with an image loader: expected a transform such as "
            "LoadImageFromFile, got none; put dict(type='jorder_preproc.JorderDerain') behind "
            "your own loader by hand"
        )


def type_names(step: Any) -> set[str]:
    """Names of the class of a transform, built or as a config, and of those it inherits from.

    Of a config with a textual type there is only its own, without its scope.
    """
    kind = step.get("type") if isinstance(step, Mapping) else type(step)
    if isinstance(kind, str):
        return {kind.rsplit(".", 1)[-1]}
    return {parent.__name__ for parent in getattr(kind, "__mro__", ())}
