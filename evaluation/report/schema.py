"""The results of one table, and the file `results.json` that holds them.

Values are fractions in [0, 1]. What is not defined is NaN in memory and null in the file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TASKS = ("classification", "segmentation", "detection")
CONDITIONS = ("clean", "rainy", "derained", "clean_derained")
"""What the model was shown, in the order of the tables."""

UNDEFINED = (math.nan, math.nan)
"""The interval of a value that is not defined."""

DEVEIL = ("off", "on", "auto")
"""On which pictures the derainer takes off the veil of rain accumulation."""

DRY = ("leave", "derain")
"""What the derainer does with pictures in which it sees no rain."""

_LATER = {"later": True}  # of fields that files of earlier versions lack; these read as the default

Interval = tuple[float, float]


@dataclass(frozen=True)
class Dataset:
    """What was evaluated.

    Attributes:
        whole: False where the set was cut short.
        unreadable: images that could not be read and are not counted in `images`.
    """

    name: str
    root: str
    images: int
    whole: bool
    unreadable: Sequence[str] = ()


@dataclass(frozen=True)
class Model:
    """The model whose tables these are.

    Attributes:
        checkpoint: file of its weights; None where they are no local file.
        sha256: of that file, or of the tensors of a model without one.
    """

    name: str
    checkpoint: str | None
    sha256: str | None


@dataclass(frozen=True)
class Rain:
    """The rain that was put on the pictures."""

    preset: str
    seed: int


@dataclass(frozen=True)
class Derainer:
    """What took it off; `weights` and `deveil_weights` are None for the shipped ones.

    Attributes:
        where: `pipeline`, every picture as it is on disk, or `batch`, after the resize.
        deveil: one of `DEVEIL`.
        deveil_sha256: of the weights of the deveil network; None where `deveil` is off.
        dry: one of `DRY`.
    """

    model: str
    weights: str | None
    sha256: str
    where: str
    deveil: str = field(default="off", metadata=_LATER)
    deveil_weights: str | None = field(default=None, metadata=_LATER)
    deveil_sha256: str | None = field(default=None, metadata=_LATER)
    dry: str = field(default="leave", metadata=_LATER)

    def __post_init__(self) -> None:
        _check_choice("where", self.where, ("pipeline", "batch"))
        _check_choice("deveil", self.deveil, DEVEIL)
        _check_choice("dry", self.dry, DRY)
        if (self.deveil == "off") != (self.deveil_sha256 is None):
            raise ValueError(
                "deveil_sha256 must be given where deveil is on or auto, and only there, got "
                f"deveil={self.deveil!r} and deveil_sha256={self.deveil_sha256!r}"
            )


@dataclass(frozen=True)
class Metric:
    """One metric in each condition.

    Attributes:
        recovery: (derained - rainy) / (clean - rainy); NaN where rain took nothing.
        interval: 95 % interval of the recovery; not defined where it has no finite ends.
        intervals: 95 % interval of each condition.
        harm: clean_derained - clean.
    """

    clean: float
    rainy: float
    derained: float
    clean_derained: float
    recovery: float
    interval: Interval
    intervals: Mapping[str, Interval]
    harm: float
    harm_interval: Interval

    def __post_init__(self) -> None:
        _check_conditions("intervals", self.intervals)


@dataclass(frozen=True)
class ClassRow:
    """The metric of one class; NaN where the class does not occur."""

    name: str
    clean: float
    rainy: float
    derained: float
    clean_derained: float


@dataclass(frozen=True)
class Classes:
    """One metric, class by class."""

    metric: str
    rows: Sequence[ClassRow]


@dataclass(frozen=True)
class PairedTest:
    """McNemar's test of derained against rainy: images that only one of them gets right."""

    only_derained: int
    only_rainy: int
    p_value: float


@dataclass(frozen=True)
class PaperRow:
    """What the paper reports; `row` names its model and data set."""

    row: str
    metric: str
    clean: float
    rainy: float
    derained: float
    recovery: float


@dataclass(frozen=True)
class Sample:
    """One image, and what the model said of it.

    Attributes:
        truth: what would be right, in words.
        pictures: condition to picture file, relative to the folder of the results:
            clean, rainy and derained, all of one size.
        said: condition to what the model said, in words.
        rain: clean and rainy to the probability of rain that the derainer sees there; empty
            where it cannot tell.
    """

    image: str
    truth: str
    pictures: Mapping[str, str]
    said: Mapping[str, str]
    rain: Mapping[str, float] = field(default_factory=dict, metadata=_LATER)

    def __post_init__(self) -> None:
        if set(self.pictures) != set(CONDITIONS[:3]):
            raise ValueError(
                f"pictures must be of {', '.join(CONDITIONS[:3])}, "
                f"got {', '.join(self.pictures) or 'none'}"
            )
        _check_conditions("said", self.said)
        _check_conditions("rain", self.rain)


@dataclass(frozen=True)
class Origin:
    """Where and when some of the predictions were made.

    Attributes:
        predictions: how many of them, over all conditions.
        first, last: when the first and the last of them were written, ISO 8601.
        versions: of Python and of packages.
        machine: system, device, threads, processes: anything that JSON can hold.
    """

    predictions: int
    first: str
    last: str
    versions: Mapping[str, str]
    machine: Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """Everything about one table.

    Attributes:
        metrics: by name; the first is the main one.
        mcnemar: for classification; None elsewhere.
        images_per_second: by condition.
        origins: of the predictions, those of earlier runs among them; from the first on.
    """

    task: str
    title: str
    command: str
    dataset: Dataset
    model: Model
    rain: Rain
    derain: Derainer
    metrics: Mapping[str, Metric]
    classes: Classes
    mcnemar: PairedTest | None
    images_per_second: Mapping[str, float]
    paper: Sequence[PaperRow] = ()
    samples: Sequence[Sample] = ()
    origins: Sequence[Origin] = ()

    def __post_init__(self) -> None:
        _check_choice("task", self.task, TASKS)
        if not self.metrics:
            raise ValueError("metrics must hold at least one metric, got none")
        _check_conditions("images_per_second", self.images_per_second)


def to_json(results: Sequence[Results]) -> str:
    """The text of `results.json`: of one result its fields, of several {"results": [...]}.

    Raises:
        ValueError: no results, or a value that JSON does not have, such as infinity.
    """
    if not results:
        raise ValueError("results must hold at least one table, got none")
    plain = [_encode(result, Results, "") for result in results]
    document = plain[0] if len(plain) == 1 else {"results": plain}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> tuple[Results, ...]:
    """What `to_json` was given, exactly; also if an earlier version wrote it.

    Raises:
        ValueError: not such a file; names the key that is missing, unknown or wrong.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"results must be JSON, but {error}; was the file cut short or edited?"
        ) from error
    if isinstance(document, dict) and set(document) == {"results"}:
        many = document["results"]
        if not isinstance(many, list) or not many:
            raise ValueError(_expected("results", "a list of tables", many))
        return tuple(_decode(one, Results, f"results[{i}]") for i, one in enumerate(many))
    return (_decode(document, Results, ""),)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _check_conditions(name: str, got: Mapping[str, Any]) -> None:
    for condition in got:
        _check_choice(f"the keys of {name}", condition, CONDITIONS)


# The dataclasses above are the schema: both directions follow their annotations, so that a
# field is named in one place.


def _encode(value: Any, kind: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    try:
        if kind is Any:
            return _encode_any(value, key)
        if origin is types.UnionType:  # X | None
            return None if value is None else _encode(value, arguments[0], key)
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            return {
                name: _encode(getattr(value, name), hint, _join(key, name))
                for name, hint in hints.items()
            }
        if origin is Mapping:
            return {k: _encode(v, arguments[1], _join(key, k)) for k, v in value.items()}
        if origin is Sequence:
            return [_encode(v, arguments[0], f"{key}[{i}]") for i, v in enumerate(value)]
        if kind == Interval:
            low, high = (_encode(v, float, key) for v in value)
            return None if low is None and high is None else [low, high]
        if kind is float:
            return _encode_any(float(value), key)
        if kind is int:
            return operator.index(value)
    except TypeError as error:
        raise ValueError(_expected(key, _words(kind), value)) from error
    if not isinstance(value, kind):
        raise ValueError(_expected(key, _words(kind), value))
    return value


def _encode_any(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _encode_any(v, _join(key, str(k))) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_encode_any(v, f"{key}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(_expected(key, "finite, or NaN", value))
        return None if math.isnan(value) else value
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError(_expected(key, "something that JSON can hold", value))


def _decode(value: Any, kind: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is types.UnionType:
        return None if value is None else _decode(value, arguments[0], key)
    if kind is float and value is None:
        return math.nan
    if kind == Interval:
        if value is None:
            return UNDEFINED
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(_expected(key, "[low, high] or null", value))
        low, high = (_decode(v, float, f"{key}[{i}]") for i, v in enumerate(value))
        return low, high
    if dataclasses.is_dataclass(kind):
        return _decode_fields(value, kind, key)
    if origin is Mapping:
        _check_type(value, dict, kind, key)
        return {k: _decode(v, arguments[1], _join(key, k)) for k, v in value.items()}
    if origin is Sequence:
        _check_type(value, list, kind, key)
        return tuple(_decode(v, arguments[0], f"{key}[{i}]") for i, v in enumerate(value))
    # to Python True is an int, and to JSON 1 is as good as 1.0
    if isinstance(value, bool) and kind is not bool:
        raise ValueError(_expected(key, _words(kind), value))
    _check_type(value, int | float if kind is float else kind, kind, key)
    return float(value) if kind is float else value


def _decode_fields(value: Any, kind: Any, key: str) -> Any:
    _check_type(value, dict, kind, key)
    hints = typing.get_type_hints(kind)
    later = {one.name for one in dataclasses.fields(kind) if one.metadata == _LATER}
    for name in hints:
        if name not in value and name not in later:
            raise ValueError(
                f"results: the key {_join(key, name)} is missing; "
                "was the file written by `python -m evaluation`?"
            )
    for name in value:
        if name not in hints:
            raise ValueError(
                f"results: the key {_join(key, name)} is unknown; "
                "was the file written by another version?"
            )
    try:
        fields = {
            name: _decode(value[name], hint, _join(key, name))
            for name, hint in hints.items()
            if name in value
        }
        return kind(**fields)
    except ValueError as error:
        if str(error).startswith("results: "):
            raise
        raise ValueError(f"results: at {key or 'the top'}: {error}") from error


def _check_type(value: Any, expected: Any, kind: Any, key: str) -> None:
    if not isinstance(value, expected):
        raise ValueError(_expected(key, _words(kind), value))


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _words(kind: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if kind in words:
        return words[kind]
    if kind == Interval:
        return "a pair of numbers"
    return "a list" if typing.get_origin(kind) is Sequence else "an object"


def _expected(key: str, words: str, value: Any) -> str:
    return f"results: the key {key or '(top)'} must be {words}, got {str(value)[:60]!r}"
