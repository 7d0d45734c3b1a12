"""Run checks one after the other, and print what held."""

from __future__ import annotations

import time
from collections.abc import Callable

import typer
from rich.table import Table

from jorder_preproc.commands import print_line, stderr, stdout
from reliability.processes import Fault, kill_running

Checks = dict[tuple[str, str], Callable[[], str | None]]
"""By what happens and to what. A check raises `Fault` where something does not hold, and may return
what to print."""


def run_checks(checks: Checks) -> None:
    """Run checks and print a table of them, after an interruption of those before it.

    Commands that a check leaves running are killed.

    Raises:
        typer.Exit: with status 1, after the last check, if something did not hold.
    """
    table = Table("what happens", "to", "holds", "seconds")
    failed = 0
    try:
        for (what, name), check in checks.items():
            start = time.monotonic()
            with stderr.status(f"{what}: {name}"):
                try:
                    said = check() or "yes"
                except Fault as fault:
                    failed += 1
                    said = "NO"
                    print_line(f"{what}, {name}:", str(fault))
                finally:
                    kill_running()
            table.add_row(what, name, said, f"{time.monotonic() - start:.0f}")
    finally:
        stdout.print(table)
    if failed:
        raise typer.Exit(1)
