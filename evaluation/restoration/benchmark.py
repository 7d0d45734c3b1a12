"""How well the rain is taken off: PSNR and SSIM on luminance, Tables 1 and 2."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from evaluation.provenance import package_sha256, package_versions
from evaluation.report.paper_numbers import RESTORATION_NOTE, RESTORATION_SETS, paper_restoration
from evaluation.report.tables import MISSING
from evaluation.restoration.methods import Restorer
from evaluation.restoration.pair_sets import PairSet
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.metrics import psnr, ssim

METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM"}
"""What the tables call them."""

_DIGITS = {"psnr": 2, "ssim": 4}
_COLUMNS = ["set", "image", "row", "psnr", "ssim", "digest"]
_RULES = 2  # what scores mean; another number makes those of earlier runs void


@dataclass(frozen=True)
class Score:
    """One picture after one restorer, against the clean one.

    Attributes:
        set: name of the set.
        image: name of the picture.
        row: name of the restorer.
        psnr: on luminance, dB; see `jorder_preproc.metrics.psnr`.
        ssim: on luminance.
        digest: of the pictures and of what restored them.
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
    fresh: bool = False,
    advance: Callable[[], object] | None = None,
) -> list[Score]:
    """Restore every picture of the sets in every way, and keep the scores.

    Results are rounded to 8 bits, as files are. `restoration.csv` grows by a line with each
    score; a run that was interrupted goes on there, and what has changed since then, pictures
    or weights, is done again.

    Args:
        sets: what to restore.
        restorers: rows of the tables.
        out: folder of `restoration.csv`.
        fresh: do everything again.
        advance: called after each picture.

    Returns:
        The scores, set by set, picture by picture, in the order of the restorers; those alone
        are in the file at the end.

    Raises:
        ValueError: two restorers of one name, a picture that cannot be used or is smaller than
            the window of SSIM, a restorer that gives no such picture, or a `restoration.csv`
            that is something else.
    """
    names = [restorer.name for restorer in restorers]
    if len(set(names)) < len(names):
        raise UserError(f"two rows have one name, of {', '.join(names)}; name one otherwise")
    path = out / "restoration.csv"
    earlier = {} if fresh else {(s.set, s.image, s.row): s for s in read_scores(path)}
    out.mkdir(parents=True, exist_ok=True)
    _write(path, earlier.values())  # without a line that an interrupted run left half
    scores = []
    with path.open("a", encoding="utf-8", newline="") as file:
        for each in sets:
            for image, load in each.pairs.items():
                rainy, clean = load()
                pictures = _digest_pictures(rainy, clean)
                for restorer in restorers:
                    digest = _digest(pictures, restorer.version(each.name, image))
                    score = earlier.get((each.name, image, restorer.name))
                    if score is None or score.digest != digest:
                        where = each.name, image, restorer.name
                        restored = restorer.restore(each.name, image, rainy)
                        score = _score(where, restored, clean, digest)
                        file.write(_lines([score]))
                        file.flush()
                    scores.append(score)
                if advance is not None:
                    advance()
    _write(path, scores)
    return scores


def read_scores(path: Path) -> list[Score]:
    """The scores in a `restoration.csv`, without a last line that is not whole; none if no file.

    Raises:
        ValueError: another kind of file.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    header, *rows = list(csv.reader(whole.splitlines())) or [[]]
    if header != _COLUMNS:
        raise UserError(f"{path} is none of this command's; choose another --out, or remove it")
    try:
        return [Score(*row[:3], *map(float, row[3:5]), *row[5:]) for row in rows]  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run again") from error


def means(scores: Iterable[Score], metric: str) -> dict[str, dict[str, float]]:
    """Mean of a metric over the pictures: row, set, mean."""
    groups: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        values = groups.setdefault(score.row, {}).setdefault(score.set, [])
        values.append(getattr(score, metric))
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
        "paper": _paper(sets),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for suffix, content in (("json", text), ("md", markdown(scores, sets))):
        with atomic_path(out / f"restoration.{suffix}") as temporary:
            temporary.write_text(content, encoding="utf-8")


def markdown(scores: Sequence[Score], sets: Sequence[PairSet]) -> str:
    """A table for each metric, as Tables 1 and 2: methods by sets, the paper's rows last."""
    lines = []
    for metric in METRICS:
        header, *rows = _cells(scores, sets, metric)
        rule = ["---"] + ["---:"] * len(sets)
        for cells in (header, rule, *rows):
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join([*lines, *_notes(sets)]) + "\n"


def terminal_tables(scores: Sequence[Score], sets: Sequence[PairSet]) -> list[Table]:
    """The same for the terminal."""
    tables = []
    for metric in METRICS:
        header, *rows = _cells(scores, sets, metric)
        table = Table()
        table.add_column(Text(header[0]))
        for name in header[1:]:
            table.add_column(Text(name), justify="right")
        for cells in rows:
            table.add_row(*map(Text, cells))
        tables.append(table)
    return tables


def _cells(scores: Sequence[Score], sets: Sequence[PairSet], metric: str) -> list[list[str]]:
    """Header and rows."""

    def row(title: str, values: Mapping[str, float]) -> list[str]:
        digits = _DIGITS[metric]
        shown = [f"{values[s.name]:.{digits}f}" if s.name in values else MISSING for s in sets]
        return [title, *shown]

    ours = [row(name, values) for name, values in means(scores, metric).items()]
    theirs = [row(f"{name}, paper", values) for name, values in _paper(sets)[metric].items()]
    return [[METRICS[metric], *(each.name for each in sets)], *ours, *theirs]


def _paper(sets: Sequence[PairSet]) -> dict[str, dict[str, dict[str, float]]]:
    """The paper's scores for sets that have the names of its own: metric, method, set."""
    names = {s.name: known for s in sets for known in RESTORATION_SETS if _same(s.name, known)}
    if not names:
        return {metric: {} for metric in METRICS}
    return {
        metric: {
            method: {name: values[known] for name, known in names.items()}
            for method, values in paper_restoration(metric).items()
        }
        for metric in METRICS
    }


def _same(name: str, known: str) -> bool:
    return name.lower() == known.lower()


def _notes(sets: Sequence[PairSet]) -> list[str]:
    counts = [
        f"{len(s.pairs)}{f' of {s.total}' if len(s.pairs) < s.total else ''} of {s.name}"
        for s in sets
    ]
    notes = [f"Means over pictures, on luminance: {', '.join(counts)}."]
    if any(_same(s.name, known) for s in sets for known in RESTORATION_SETS):
        notes += ["", f"Paper: told by the name of the set. {RESTORATION_NOTE}."]
    return notes


def _score(where: tuple[str, str, str], restored: Any, clean: Tensor, digest: str) -> Score:
    named = " of ".join((where[2], "/".join(where[:2])))
    if not isinstance(restored, Tensor) or not restored.is_floating_point():
        kind = restored.dtype if isinstance(restored, Tensor) else type(restored).__name__
        raise UserError(f"{named}: expected a float tensor (3, H, W), got {kind}")
    if restored.shape != clean.shape:
        raise UserError(
            f"{named}: expected shape {tuple(clean.shape)}, got {tuple(restored.shape)}; it must "
            "have the size of the rainy picture"
        )
    if not restored.isfinite().all():
        raise UserError(f"{named}: has values that are not finite")
    # derainers overshoot a little, which files do not hold
    pixels = float_to_pixels(restored.detach().cpu().float().clamp(0, 1), torch.uint8)
    image = pixels_to_float(pixels)
    try:
        return Score(*where, float(psnr(image, clean)), float(ssim(image, clean)), digest)
    except ValueError as error:
        raise UserError(f"{named}: {error}; leave this picture out") from error


def _digest_pictures(rainy: Tensor, clean: Tensor) -> str:
    digest = hashlib.sha256()
    for image in (rainy, clean):
        digest.update(str(tuple(image.shape)).encode())
        digest.update(image.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest(pictures: str, version: str) -> str:
    code = json.dumps([_RULES, package_sha256(), package_versions()], sort_keys=True)
    parts = (code, pictures, version)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _lines(scores: Iterable[Score]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for s in scores:
        writer.writerow([s.set, s.image, s.row, repr(s.psnr), repr(s.ssim), s.digest])
    return file.getvalue()


def _write(path: Path, scores: Iterable[Score]) -> None:
    with atomic_path(path) as temporary:
        header = ",".join(_COLUMNS) + "\n"
        temporary.write_text(header + _lines(scores), encoding="utf-8", newline="")
