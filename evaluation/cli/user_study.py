"""`python -m evaluation user-study`: paired comparison of derainers by people (Table 14)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.cli import options as cli
from evaluation.report.grid import Grid
from evaluation.user_study.page import KEY, PAGE, write_study
from evaluation.user_study.rank_product import rank, read_votes
from jorder_preproc.atomic import atomic_path
from jorder_preproc.commands import command_group, stdout
from jorder_preproc.errors import UserError

app = typer.Typer()
study = command_group("Paired comparison of derainers by people (Table 14).")
app.add_typer(study, name="user-study")


@study.command("make")
def make_command(
    method: Annotated[
        list[str],
        typer.Option(help="NAME=FOLDER of results; at least two. All have the same images."),
    ],
    rainy: Annotated[
        Path | None, typer.Option(help="Folder of the input images, to show on request.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the codes that stand for names.")] = 0,
    out: cli.Out = None,
) -> None:
    """Make the page of pairs for participants, and the key to its codes."""
    methods = {}
    for text in method:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder) or name in methods:
            raise UserError(f"--method takes NAME=FOLDER, each name once, got {text!r}")
        methods[name] = Path(folder)
    out = cli.output_folder(out, "user_study")
    key = write_study(methods, out, rainy, seed)
    pairs = len(key.images) * len(key.methods) * (len(key.methods) - 1) // 2
    cli.say(f"{pairs} pairs for participants: {out / PAGE}")
    cli.say(f"the key to its codes, not for participants: {out / KEY}")


@study.command("rank")
def rank_command(
    folder: Annotated[Path, typer.Argument(help="Folder that `make` wrote.")],
    votes: Annotated[list[Path], typer.Argument(help="JSON files that participants saved.")],
) -> None:
    """Rank product of the methods, from the votes; also written to FOLDER/rank_product.csv."""
    counted = read_votes(folder, votes)
    rows = rank(counted)
    grid = Grid(
        ["method", "rank product", "low", "high", "preferred, %"],
        [[r.method, r.rank_product, *r.interval, 100 * r.preferred] for r in rows],
        {"rank product": 2, "low": 2, "high": 2, "preferred, %": 1},
        f"{len(votes)} participants, {len(counted.images)} images. Low and high: 95 % interval, "
        "participants and images resampled.",
    )
    with atomic_path(folder / "rank_product.csv") as file:
        file.write_text(grid.comma_separated(), encoding="utf-8")
    stdout.print(grid.terminal())
