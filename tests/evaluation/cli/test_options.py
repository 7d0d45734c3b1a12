from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from typer.testing import CliRunner

from evaluation.cli import figures
from evaluation.cli.options import expand_options


@dataclass(frozen=True)
class Group:
    """Options that commands share."""

    folder: Annotated[Path, typer.Argument(help="A folder.")]
    size: Annotated[int, typer.Option(min=1, help="A size.")] = 3


def test_fields_of_a_group_are_options_of_the_command():
    app, calls = typer.Typer(), []

    @app.command()
    @expand_options
    def command(own: Annotated[str, typer.Option()] = "a", *, group: Group) -> None:
        """What it does."""
        calls.append((own, group))

    run = CliRunner().invoke
    assert run(app, ["here"]).exit_code == 0
    assert run(app, ["there", "--size", "5", "--own", "b"]).exit_code == 0
    assert calls == [("a", Group(Path("here"))), ("b", Group(Path("there"), 5))]
    assert run(app, []).exit_code == run(app, ["here", "--size", "0"]).exit_code == 2
    shown = run(app, ["--help"]).output
    assert "What it does." in shown and "A size." in shown and "group" not in shown


def test_the_bar_counts_photographs_that_are_done(monkeypatch):
    done = []
    found = {name: lambda: torch.zeros(3, 2, 2) for name in "abc"}
    monkeypatch.setattr(figures, "built_in_photographs", lambda: found)
    update = figures.progress_bar(figures.stderr).__class__.update
    monkeypatch.setattr(
        figures.progress_bar(figures.stderr).__class__,
        "update",
        lambda self, bar, completed: done.append(completed) or update(self, bar),
    )
    options = figures.CommonOptions(limit=2)
    with figures.open_photographs(options, None, Path("out"), rounds=2) as photographs:
        assert list(photographs) == ["a", "b"]
        for load in 2 * list(photographs.values()):
            load()
    assert done == [0, 1, 2, 3, 4]
