"""PSNR and SSIM on luminance of derained images, Tables 1 and 2."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from torch import Tensor

from evaluation.provenance import package_sha256, package_versions
from evaluation.report.grid import Grid, csv_lines
from evaluation.report.paper_numbers import RESTORATION_NOTE, RESTORATION_SETS, paper_restoration
from evaluation.restoration.methods import Restorer, check_names
from evaluation.restoration.pair_sets import PairSet
from evaluation.restoration.scores import score
from jorder_preproc.atomic import write_text
from jorder_preproc.errors import UserError

METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM"}
"""Their titles in tables."""

_DIGITS = {"psnr": 2, "ssim": 4}
_COLUMNS = ["set", "image", "row", "psnr", "ssim", "digest"]
_SCORING = 2  # version of the scoring; another number makes earlier scores stale


@dataclass(frozen=True)
class Score:
    """The scores of one image after one restorer.

    Attributes:
        set: name of the set.
        image: name of the image.
        row: name of the restorer.
        psnr: on luminance, dB; see `jorder_preproc.metrics.psnr`.
        ssim: on luminance.
        digest: of the images, the restorer and the code.
    """

    set: str
    image: str
    row: str
    psnr: float
    ssim: float
    digest: str


def score_sets(
    sets: Sequence[PairSet],
    restorers: Sequence[Restorer],
    out: Path,
    *,
    resume: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> list[Score]:
    """Restore every image of the sets with every restorer, and keep the scores.

    `restoration.csv` grows by a line with each score. An interrupted run resumes there; scores
    whose images, weights or code have changed are computed again.

    Args:
        sets: what to restore.
        restorers: rows of the tables.
        out: folder of `restoration.csv`.
        resume: use the scores of earlier runs.
        advance: called after each image.

    Returns:
        The scores by set, image and restorer, in that order; at the end the file holds no
        others.

    Raises:
        ValueError: two restorers of one name, an image that cannot be used or is smaller than
            the window of SSIM, a restorer that gives no such image, or a `restoration.csv`
            that is something else.
    """
    check_names(restorers)
    path = out / "restoration.csv"
    earlier = {(s.set, s.image, s.row): s for s in read_scores(path)} if resume else {}
    out.mkdir(parents=True, exist_ok=True)
    _write(path, earlier.values())  # drops a line that an interrupted run did not finish
    scores = []
    with path.open("a", encoding="utf-8", newline="") as file:
        for each in sets:
            for image, load in each.pairs.items():
                rainy, clean = load()
                pair = _digest_pair(rainy, clean)
                for restorer in restorers:
                    digest = _digest(pair, restorer.version(each.name, image))
                    found = earlier.get((each.name, image, restorer.name))
                    if found is None or found.digest != digest:
                        named = f"{restorer.name} of {each.name}/{image}"
                        restored = restorer.restore(each.name, image, rainy)
                        values = score(named, restored, clean)
                        found = Score(each.name, image, restorer.name, *values, digest)
                        file.write(csv_lines([astuple(found)]))
                        file.flush()
                    scores.append(found)
                advance()
    _write(path, scores)
    return scores


def read_scores(path: Path) -> list[Score]:
    """The scores in a `restoration.csv`, without an unfinished last line; none without a file.

    Raises:
        ValueError: another kind of file.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    header, *rows = list(csv.reader(whole.splitlines())) or [[]]
    if header != _COLUMNS:
        raise UserError(
            f"{path} was not written by this command; choose another --out, or remove it"
        )
    try:
        return [Score(*row[:3], *map(float, row[3:5]), *row[5:]) for row in rows]  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run again") from error


def means(scores: Iterable[Score], metric: str) -> dict[str, dict[str, float]]:
    """Mean of a metric over the images, by row and set."""
    groups: dict[str, dict[str, list[float]]] = {}
    for each in scores:
        values = groups.setdefault(each.row, {}).setdefault(each.set, [])
        values.append(getattr(each, metric))
    return {
        row: {name: sum(values) / len(values) for name, values in of_sets.items()}
        for row, of_sets in groups.items()
    }


def write_tables(
    scores: Sequence[Score],
    sets: Sequence[PairSet],
    restorers: Sequence[Restorer],
    out: Path,
    command: str,
) -> None:
    """Write `restoration.json` and `restoration.md`."""
    document = {
        "command": command,
        "versions": package_versions(),
        "sets": {
            each.name: {"layout": each.layout, "total": each.total, "images": len(each.pairs)}
            for each in sets
        },
        "rows": {restorer.name: dict(restorer.about) for restorer in restorers},
        "means": {metric: means(scores, metric) for metric in METRICS},
        "paper": {metric: _paper(sets, metric) for metric in METRICS},
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    markdown = "\n".join(grid.markdown() for grid in make_grids(scores, sets))
    write_text(out / "restoration.json", text)
    write_text(out / "restoration.md", markdown)


def make_grids(scores: Sequence[Score], sets: Sequence[PairSet]) -> list[Grid]:
    """A table for each metric, as Tables 1 and 2: methods by sets, the paper's rows last."""
    names = [each.name for each in sets]
    grids = []
    for metric, title in METRICS.items():
        rows = means(scores, metric)
        rows |= {f"{row}, paper": values for row, values in _paper(sets, metric).items()}
        cells = [[row, *(values.get(name) for name in names)] for row, values in rows.items()]
        digits = dict.fromkeys(names, _DIGITS[metric])
        note = _note(sets) if metric == list(METRICS)[-1] else ""
        grids.append(Grid([title, *names], cells, digits, note))
    return grids


def _paper(sets: Sequence[PairSet], metric: str) -> dict[str, dict[str, float]]:
    """The paper's scores, by method and set, for sets named as the paper names them."""
    known = {name.lower(): name for name in RESTORATION_SETS}
    names = {each.name: known[each.name.lower()] for each in sets if each.name.lower() in known}
    if not names:
        return {}
    return {
        method: {name: values[theirs] for name, theirs in names.items()}
        for method, values in paper_restoration(metric).items()
    }


def _note(sets: Sequence[PairSet]) -> str:
    counts = [
        f"{len(s.pairs)}{f' of {s.total}' if len(s.pairs) < s.total else ''} of {s.name}"
        for s in sets
    ]
    note = f"Means over images, on luminance: {', '.join(counts)}."
    if _paper(sets, "psnr"):
        note += f"\n\nPaper: chosen by the name of the set. {RESTORATION_NOTE}."
    return note


def _digest_pair(rainy: Tensor, clean: Tensor) -> str:
    digest = hashlib.sha256()
    for image in (rainy, clean):
        digest.update(str(tuple(image.shape)).encode())
        digest.update(image.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest(pair: str, version: str) -> str:
    code = json.dumps([_SCORING, package_sha256(), package_versions()], sort_keys=True)
    return hashlib.sha256("\n".join((code, pair, version)).encode()).hexdigest()[:16]


def _write(path: Path, scores: Iterable[Score]) -> None:
    write_text(path, csv_lines([_COLUMNS, *map(astuple, scores)]))
