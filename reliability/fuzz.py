"""`python -m reliability fuzz`: damaged files end in success or in a message."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from jorder_preproc.commands import stderr, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.progress import progress_bar
from reliability import mutations
from reliability.mutations import Files
from reliability.probes import LIMIT_S, PROBES

COUNTS = {
    "image": 2000,
    "weights": 125,
    "onnx": 125,
    "results": 125,
    "records": 125,
    "sample": 50,
    "ranges": 50,
    "cache": 50,
}
"""Cases of each kind of the whole run."""

COMMAND = ("-m", "reliability.probes")
"""Arguments of Python before the kind, the folder and the cases."""

_BATCH = 250
_ENDINGS = ("worked", "refused", "defect")

Outcome = tuple[str, str]
"""Ending and message of a case; see `reliability.probes.main`."""

app = typer.Typer()


@app.command()
def fuzz(
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the 2,650 cases.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the damage.")] = 0,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help=f"Of {', '.join(COUNTS)}; may be repeated.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder to copy the cases to that show a defect.")
    ] = None,
) -> None:
    """Give damaged files to `jorder derain`, loaders, cache and report.

    Each must end with success or with a message: no crash, no traceback, no more than a minute,
    no partial file. Exits with status 1 otherwise.
    """
    if unknown := set(kinds or ()) - set(COUNTS):
        raise UserError(f"--kind must be one of {', '.join(COUNTS)}, got {min(unknown)!r}")
    table = Table("kind", "cases", *_ENDINGS)
    defects = 0
    with progress_bar(stderr) as progress:
        for kind in kinds or COUNTS:
            count = max(1, round(share * COUNTS[kind]))
            endings: Counter[str] = Counter()
            cases = run_cases(kind, range(count), seed, keep)
            for case, (ending, message) in progress.track(cases, total=count, description=kind):
                endings[ending] += 1
                if ending == "defect":
                    stdout.print(
                        f"{kind} {case}: {message}", markup=False, highlight=False, soft_wrap=True
                    )
            table.add_row(kind, str(count), *(str(endings[ending]) for ending in _ENDINGS))
            defects += endings["defect"]
    stdout.print(table)
    if defects:
        raise typer.Exit(1)


def run_cases(
    kind: str, numbers: range, seed: int, keep: Path | None = None
) -> Iterator[tuple[str, Outcome]]:
    """Names and outcomes of cases."""
    seeds = mutations.SEEDS[kind]()
    for start in range(0, len(numbers), _BATCH):
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for number in numbers[start : start + _BATCH]:
                write_case(folder / f"{number:05}", damaged(kind, seeds, number, seed))
            for case, outcome in probe(kind, folder).items():
                if keep is not None and outcome[0] == "defect":
                    shutil.copytree(folder / case, keep / kind / case, dirs_exist_ok=True)
                yield case, outcome


def damaged(kind: str, seeds: Sequence[Files], number: int, seed: int) -> Files:
    """The files of a case; the same number and seed give the same files."""
    rng = np.random.default_rng([seed, list(PROBES).index(kind), number])
    return mutations.damage(seeds[number % len(seeds)], rng)


def write_case(folder: Path, files: Files) -> Path:
    """Write the files of a case into a folder of its own."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def probe(kind: str, folder: Path) -> dict[str, Outcome]:
    """Try the cases of a folder in another process; in a new one behind each that kills it."""
    outcomes: dict[str, Outcome] = {}
    waiting = sorted(path.name for path in folder.iterdir())
    while waiting:
        command = [sys.executable, *COMMAND, kind, str(folder), *waiting]
        limit = LIMIT_S * (len(waiting) + 1)
        process = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit
        )
        for line in filter(lambda line: line.startswith("{"), process.stdout.splitlines()):
            outcome = json.loads(line)
            outcomes[outcome["case"]] = outcome["ending"], outcome["message"]
        waiting = [case for case in waiting if case not in outcomes]
        if waiting:
            end = f"status {process.returncode}: {process.stderr[-3000:]}"
            outcomes[waiting.pop(0)] = "defect", end
    return outcomes
