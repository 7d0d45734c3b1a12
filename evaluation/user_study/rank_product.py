"""The rank product of methods from paired comparisons (Table 14)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from evaluation.user_study.page import KEY, Key
from jorder_preproc.errors import UserError

_LEVEL = 0.95


class Ranking(NamedTuple):
    """One method.

    Attributes:
        method: its name.
        rank_product: 1 if it is the best on every image, and at most the number of methods.
        interval: 95 % bootstrap interval over participants and images.
        preferred: share of its comparisons that it won, [0, 1].
    """

    method: str
    rank_product: float
    interval: tuple[float, float]
    preferred: float


@dataclass(frozen=True)
class Votes:
    """Counted votes of a study.

    Attributes:
        methods: names, M.
        images: names, N.
        wins: int64 (participants, N, M, M): how often the method of the row was preferred to
            that of the column.
    """

    methods: list[str]
    images: list[str]
    wins: NDArray[np.int64]


def read_votes(study: Path, files: Sequence[Path]) -> Votes:
    """Count the votes of participants.

    Args:
        study: folder of the study, for its key.
        files: that participants saved, one each.

    Raises:
        UserError: no files, a file that is not of this study, or two of one participant.
    """
    if not files:
        raise UserError("no files of votes were given")
    try:
        key = Key(**_read_json(study / KEY))
    except TypeError as error:
        raise UserError(
            f"{study / KEY} is not the key of a study ({error}); make the study again"
        ) from error
    methods, images = sorted(key.methods.values()), sorted(key.images.values())
    wins = np.zeros((len(files), len(images), len(methods), len(methods)), np.int64)
    seen: dict[str, Path] = {}
    for number, file in enumerate(files):
        document = _read_json(file)
        try:
            if document["study"] != key.study:
                raise UserError(
                    f"{file} has votes of the study {document['study']}, not of {key.study}"
                )
            participant = document["participant"]
            if participant in seen:
                raise UserError(f"{file} and {seen[participant]} are of the same participant")
            seen[participant] = file
            for vote in document["votes"]:
                left, right = (key.methods[vote[side]] for side in ("left", "right"))
                preferred = key.methods[vote["preferred"]]
                if preferred not in (left, right) or left == right:
                    raise KeyError("preferred")
                other = right if preferred == left else left
                image = images.index(key.images[vote["image"]])
                wins[number, image, methods.index(preferred), methods.index(other)] += 1
        except (KeyError, TypeError) as error:
            raise UserError(f"{file} is not a file of votes of this study ({error!r})") from error
    return Votes(methods, images, wins)


def rank_product(wins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The geometric mean over images of each method's rank by number of preferences.

    As in the comparative study that the paper cites [42]: on each image, methods are ranked by
    how often they were preferred in all comparisons, ties getting their mean rank.

    Args:
        wins: of all participants together, (N, M, M), see `Votes`.

    Returns:
        (M,), in [1, M].
    """
    ranks = rankdata(-wins.sum(2), axis=1)
    return np.exp(np.log(ranks).mean(0))


def rank(votes: Votes, repeats: int = 2000, seed: int = 0) -> list[Ranking]:
    """All methods, best first.

    Args:
        votes: the counts.
        repeats: bootstrap resamples; each draws participants and images with replacement.
        seed: of the resamples.

    Raises:
        UserError: there is no vote for an image.
    """
    per_image = votes.wins.sum((0, 2, 3))
    if not per_image.all():
        raise UserError(f"no votes for the image {votes.images[int(per_image.argmin())]!r}")
    values = rank_product(votes.wins.sum(0))
    rng = np.random.default_rng(seed)
    participants, images = votes.wins.shape[:2]
    resamples = np.empty((repeats, len(votes.methods)))
    for resample in resamples:
        people = rng.integers(participants, size=participants)
        chosen = votes.wins[people].sum(0)[rng.integers(images, size=images)]
        resample[:] = rank_product(chosen)
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(resamples, (tail, 1 - tail), axis=0)
    won, lost = votes.wins.sum((0, 1, 3)), votes.wins.sum((0, 1, 2))
    shares = won / np.maximum(won + lost, 1)
    rows = [
        Ranking(method, float(values[k]), (float(low[k]), float(high[k])), float(shares[k]))
        for k, method in enumerate(votes.methods)
    ]
    return sorted(rows, key=lambda row: row.rank_product)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
