"""`python -m evaluation restoration`: PSNR and SSIM of derained images."""

from __future__ import annotations

from typing import Annotated

import typer
from mmengine.device import get_device

from evaluation.cli import options as cli
from evaluation.datasets.layouts.pairs import Half
from evaluation.restoration.benchmark import make_grids, score_sets, write_tables
from evaluation.restoration.methods import (
    make_input_row,
    open_derainer,
    open_method,
    shipped_derainers,
)
from evaluation.restoration.pair_sets import BUILT_IN, open_sets
from jorder_preproc.commands import stderr, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.progress import progress_bar

app = typer.Typer()


@app.command("restoration")
def restoration_command(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SET]...",
            help="Folder of pairs, or NAME=FOLDER; default: "
            f"{', '.join(BUILT_IN)}, which are built in.",
        ),
    ] = None,
    derainer: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, NAME+deveil, or either with =FILE for other weights; may be repeated. "
            "Default: all with weights in the package."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Another method: NAME=module:callable, NAME=FILE.onnx or NAME=FOLDER of results; "
            "may be repeated."
        ),
    ] = None,
    deveil_weights: cli.DeveilWeights = None,
    clean_half: Annotated[
        Half | None, typer.Option(help="Of images that hold a rainy and a clean half.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most N pairs of each set, evenly spread.")
    ] = None,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Ignore the scores of earlier runs in --out.")
    ] = False,
    device: cli.Device = None,
    out: cli.Out = None,
) -> None:
    """PSNR and SSIM of derained images (Tables 1 and 2): Rain12, Rain100L, Rain100H, Rain800."""
    cli.start("none", device)
    out = cli.output_folder(out, "restoration")
    named = derainer or shipped_derainers()
    if deveil_weights is not None and not any(
        name.partition("=")[0].endswith("+deveil") for name in named
    ):
        raise UserError("--deveil-weights are for NAME+deveil; give such a --derainer, too")
    found = open_sets(sets or [], clean_half, limit)
    images = {each.name: list(each.pairs) for each in found}
    rows = [make_input_row()]
    rows += [open_derainer(name, get_device(), deveil_weights) for name in named]
    rows += [open_method(text, images) for text in method or []]
    with progress_bar(stderr) as progress:
        bar = progress.add_task("restoring", total=sum(map(len, images.values())))
        scores = score_sets(
            found, rows, out, resume=not no_resume, advance=lambda: progress.advance(bar)
        )
    write_tables(scores, found, rows, out, cli.command_line())
    for grid in make_grids(scores, found):
        stdout.print(grid.terminal())
    cli.say(f"tables: {out / 'restoration.md'}")
