"""`python -m reliability distributed`: several processes under torchrun give what one gives."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from reliability.checks import Checks, run_checks
from reliability.faults import make_photos, training_work
from reliability.processes import Command, expect, run, temporary_files

app = typer.Typer()
TASKS = ("classification", "segmentation", "detection")
_LAST_S = 60.0
"""Time within which the others end after a process died."""


@app.command()
def distributed(
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help=f"Of {', '.join(TASKS)}; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=8, help="Images of each evaluation.")] = 24,
) -> None:
    """Evaluate and train in 2 and 4 processes, and compare with one; kill one of two.

    Exits with status 1 if something does not hold.
    """
    tasks = tasks or list(TASKS)
    with tempfile.TemporaryDirectory(prefix="distributed-") as folder:
        root = Path(folder)
        checks: Checks = {}
        for task, processes in itertools.product(tasks, (2, 4)):
            check = partial(compare_tables, root / task, task, processes, limit)
            checks[f"{processes} processes", task] = check
        checks["one of 2 dies", tasks[0]] = partial(kill_one, root / tasks[0], tasks[0], limit)
        checks["2 processes", "training"] = partial(resume_training, root / "training")
        run_checks(checks)


def torchrun(processes: int, arguments: list[str]) -> list[str]:
    """Arguments of Python that run a module in several processes, on a free port."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*start, *arguments, "--launcher", "pytorch"]


def compare_tables(root: Path, task: str, processes: int, limit: int) -> None:
    """The table of several processes is that of one."""
    expected = _alone(root, task, limit)
    out = _with_scenes(root, str(processes))
    run(torchrun(processes, _evaluate(task, out, limit)))
    expect((out / "table.csv").read_text() == expected, "the table is another one")


def kill_one(root: Path, task: str, limit: int) -> str:
    """The other process ends within a minute and says why; then one goes on alone."""
    expected = _alone(root, task, limit)
    out = _with_scenes(root, "killed")
    command = Command(torchrun(2, _evaluate(task, out, limit)))
    command.wait_for(lambda: any(out.glob("records/rainy-*/settings.json")))
    (second,) = (
        number
        for number in command.started()
        if b"RANK=1" in Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    )
    os.kill(second, signal.SIGKILL)
    start = time.monotonic()
    output = command.end()
    seconds = time.monotonic() - start
    status = command.process.returncode
    expect(status != 0 and "SIGKILL" in output, f"status {status}: {output[-2000:]}")
    expect(seconds < _LAST_S, f"the others end after {seconds:.0f} s")
    run(_evaluate(task, out, limit))
    expect((out / "table.csv").read_text() == expected, "the table is another one")
    expect(not temporary_files(out), f"it leaves {temporary_files(out)}")
    return f"yes: {seconds:.1f} s"


def resume_training(root: Path) -> None:
    """Two processes that are killed and resumed end with the weights of an undisturbed run."""
    work = training_work(make_photos(root / "photos", 8))
    whole, cut = root / "whole", root / "cut"
    run(torchrun(2, work.command(whole)))
    command = Command(torchrun(2, work.command(cut)))
    command.wait_for(lambda: (cut / "iter_4.pth").is_file())
    for number in [command.process.pid, *command.started()]:
        os.kill(number, signal.SIGKILL)
    command.end()
    expect(not (cut / "iter_12.pth").exists(), "it ended before it could be killed")
    run(torchrun(2, work.command(cut)))
    states: list[Any] = [
        torch.load(folder / "iter_12.pth", weights_only=False)["state_dict"]
        for folder in (whole, cut)
    ]
    expect(
        all(torch.allclose(states[0][name], states[1][name], atol=1e-6) for name in states[0]),
        "the weights are others",
    )


def _alone(root: Path, task: str, limit: int) -> str:
    """The table of one process."""
    file = root / "alone/table.csv"
    if not file.exists():
        run(_evaluate(task, root / "alone", limit))
    return file.read_text()


def _with_scenes(root: Path, name: str) -> Path:
    """A folder for results with the scenes that `_alone` has drawn."""
    shutil.copytree(root / "alone/scenes", root / name / "scenes")
    return root / name


def _evaluate(task: str, out: Path, limit: int) -> list[str]:
    options = ["--limit", str(limit), "--samples", "1", "--workers", "0", "--out", str(out)]
    return ["-m", "evaluation", task, *options]
