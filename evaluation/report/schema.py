"""The results of one table, and the file `results.json` that holds them.

Values are fractions in [0, 1]. What is not defined is NaN in memory and null in the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic.dataclasses import dataclass

from evaluation.metrics.statistics import CONDITIONS
from jorder_preproc.backends import Backend, Precision
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import Deveil, Dry

Task = Literal["classification", "segmentation", "detection"]


def _from_null(value: Any, info: ValidationInfo) -> Any:
    return math.nan if value is None and info.mode == "json" else value


def _check_finite(value: float) -> float:
    if math.isinf(value):
        raise ValueError("must be finite, or NaN")
    return value


def _check_condition(name: str) -> str:
    if name not in CONDITIONS:
        raise ValueError(f"must be one of {', '.join(CONDITIONS)}")
    return name


Number = Annotated[float, BeforeValidator(_from_null), AfterValidator(_check_finite)]
"""A finite number or NaN, which is null in the file."""

Condition = Annotated[str, AfterValidator(_check_condition)]
"""One of `CONDITIONS`."""

_CONFIG = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CONFIG)
class Dataset:
    """The data set of the table.

    Attributes:
        whole: False for a part of the set.
        unreadable: images that could not be read and are not counted in `images`.
    """

    name: str
    root: str
    images: int
    whole: bool
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, config=_CONFIG)
class Model:
    """The model under test.

    Attributes:
        checkpoint: file of its weights; None where they are no local file.
        sha256: of that file, or of the tensors of a model without one.
    """

    name: str
    checkpoint: str | None
    sha256: str | None


@dataclass(frozen=True, config=_CONFIG)
class Rain:
    """The rain of the rainy conditions; see `synthesize_rain`."""

    preset: str = "heavy"
    seed: int = 0


@dataclass(frozen=True, config=_CONFIG)
class Derainer:
    """The derainer of the derained conditions.

    Attributes:
        name: one of `list_models`.
        weights: a safetensors file; None takes the shipped ones.
        where: `pipeline`, behind the loader at the images' own size, on the CPU; or `batch`,
            at the size the pipeline gives, where the model runs.
        cache: folder for derained images, with `pipeline`; None keeps none.
        deveil, deveil_weights: remove rain accumulation, too; see `jorder_preproc.JorderDerain`.
        dry: what becomes of images without rain; see `jorder_preproc.JorderDerain`.
        backend, precision: what runs it; see `jorder_preproc.backends`.
    """

    name: str = "jorder_e_lite"
    weights: str | None = None
    where: Literal["pipeline", "batch"] = "pipeline"
    cache: str | None = None
    deveil: Deveil = False
    deveil_weights: str | None = None
    dry: Dry = "leave"
    backend: Backend = "torch"
    precision: Precision = "float32"


@dataclass(frozen=True, config=_CONFIG)
class Metric:
    """One metric in each condition.

    Attributes:
        recovery: (derained - rainy) / (clean - rainy); NaN without a loss to rain.
        interval: 95 % interval of the recovery; undefined where it has no finite ends.
        intervals: 95 % interval of each condition.
        harm: clean_derained - clean.
    """

    clean: Number
    rainy: Number
    derained: Number
    clean_derained: Number
    recovery: Number
    interval: tuple[Number, Number]
    intervals: Mapping[Condition, tuple[Number, Number]]
    harm: Number
    harm_interval: tuple[Number, Number]


@dataclass(frozen=True, config=_CONFIG)
class ClassRow:
    """The metric of one class; NaN where the class does not occur."""

    name: str
    clean: Number
    rainy: Number
    derained: Number
    clean_derained: Number


@dataclass(frozen=True, config=_CONFIG)
class Classes:
    """One metric, class by class."""

    metric: str
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True, config=_CONFIG)
class PairedTest:
    """McNemar's test of derained against rainy: images that only one of them gets right."""

    only_derained: int
    only_rainy: int
    p_value: Number


@dataclass(frozen=True, config=_CONFIG)
class PaperRow:
    """A result of the paper; `row` names its model and data set."""

    row: str
    metric: str
    clean: Number
    rainy: Number
    derained: Number
    recovery: Number


@dataclass(frozen=True, config=_CONFIG)
class Sample:
    """One image with its predictions.

    Attributes:
        target: in words.
        images: files of the clean, rainy and derained image, all of one size, relative to the
            folder of the results.
        predictions: in words, by condition.
        rain: the derainer's probability of rain in the clean and the rainy image; empty where
            the network does not estimate it.
    """

    image: str
    target: str
    images: Mapping[Condition, str]
    predictions: Mapping[Condition, str]
    rain: Mapping[Condition, Number] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.images) != set(CONDITIONS[:3]):
            raise ValueError(
                f"images must be of {', '.join(CONDITIONS[:3])}, "
                f"got {', '.join(self.images) or 'none'}"
            )


@dataclass(frozen=True, config=_CONFIG)
class Origin:
    """The environment and time of some of the predictions.

    Attributes:
        predictions: how many of them, over all conditions.
        first, last: when the first and the last of them were written, ISO 8601.
        versions: of Python and of packages.
        machine: system, device, threads, processes.
    """

    predictions: int
    first: str
    last: str
    versions: Mapping[str, str]
    machine: Mapping[str, JsonValue]


@dataclass(frozen=True, config=_CONFIG)
class Results:
    """Everything about one table.

    Attributes:
        derainer_sha256: of the weights.
        deveil_sha256: of the weights of the deveil network; None without deveiling.
        metrics: by name; the first is the main one.
        mcnemar: for classification; None elsewhere.
        images_per_second: by condition.
        origins: of the predictions, those of earlier runs among them, oldest first.
    """

    task: Task
    title: str
    command: str
    dataset: Dataset
    model: Model
    rain: Rain
    derainer: Derainer
    derainer_sha256: str
    deveil_sha256: str | None
    metrics: Annotated[Mapping[str, Metric], Field(min_length=1)]
    classes: Classes
    mcnemar: PairedTest | None
    images_per_second: Mapping[Condition, Number]
    paper: tuple[PaperRow, ...] = ()
    samples: tuple[Sample, ...] = ()
    origins: tuple[Origin, ...] = ()

    def __post_init__(self) -> None:
        if (self.derainer.deveil is False) != (self.deveil_sha256 is None):
            raise ValueError(
                "deveil_sha256 must be given with deveiling, and only there, got "
                f"deveil={self.derainer.deveil!r} and deveil_sha256={self.deveil_sha256!r}"
            )


@dataclass(frozen=True, config=_CONFIG)
class _File:
    results: Annotated[tuple[Results, ...], Field(min_length=1)]


_FILE = TypeAdapter(_File)


def to_json(results: Sequence[Results]) -> str:
    """The text of `results.json`.

    Raises:
        ValueError: no results.
    """
    if not results:
        raise ValueError("results must hold at least one table, got none")
    return _FILE.dump_json(_File(tuple(results)), indent=1).decode() + "\n"


def from_json(text: str) -> tuple[Results, ...]:
    """The results in a `results.json`, equal to those written.

    Raises:
        ValueError: not such a file; names the key that is missing, unknown or wrong.
    """
    try:
        return _FILE.validate_json(text, strict=True).results
    except ValidationError as error:
        raise ValueError(_explain(error)) from error


def read_results(folder: Path) -> tuple[Results, ...]:
    """The results in the output folder of a run.

    Raises:
        UserError: it has none, or they are damaged.
    """
    file = folder / "results.json"
    try:
        return from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{folder} has no results.json ({error.strerror}); run the table first"
        ) from error
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error


def _explain(error: ValidationError) -> str:
    """The first mistake: what was expected, what came, what to do."""
    first = error.errors()[0]
    keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in first["loc"])
    key = keys.removeprefix(".").removesuffix(".[key]") or "(top)"
    if first["type"] == "json_invalid":
        return f"results must be JSON, but {first['msg']}; was the file cut short or edited?"
    if first["type"] == "missing":
        return f"the key {key} is missing; was the file written by `python -m evaluation`?"
    if first["type"] == "unexpected_keyword_argument":
        return f"the key {key} is unknown; was the file written by another version?"
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    got = str(first["input"])[:60]
    return f"the key {key}: {expected}, got {got!r}; was the file edited?"
