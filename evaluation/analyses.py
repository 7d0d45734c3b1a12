"""Commands that look into one derainer, as the paper's figures and smaller tables do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from PIL import Image

from evaluation.commands import command_line, stdout
from evaluation.docs import replace_section
from evaluation.figures import Grid, save_figure
from evaluation.photographs import Loader, built_in_photographs, find_photographs
from evaluation.run import spread
from jorder_preproc.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = typer.Typer()

PhotosArgument = Annotated[
    Path | None,
    typer.Argument(help="Folder of clean photographs; default: six built-in ones."),
]


def open_photographs(photos: Path | None, out: Path, limit: int | None) -> dict[str, Loader]:
    """Clean photographs of a folder, or the built-in ones; at most so many, evenly spread.

    Raises:
        ValueError: see `find_photographs` and `built_in_photographs`.
    """
    found = built_in_photographs() if photos is None else find_photographs(photos, out)
    names = list(found)
    return {names[number]: found[names[number]] for number in spread(len(names), limit)}


def finish(
    name: str,
    grids: Sequence[Grid],
    figure: Image.Image | Figure,
    out: Path,
    docs: Path | None,
    alternative: str,
) -> None:
    """Write the tables and the figure of a command, put both on a page, and print the tables.

    Args:
        name: of the command, its section and its files: `NAME.csv`, `NAME_2.csv` of a second
            table, `NAME.md` with all tables, and the figure.
        grids: the tables.
        figure: what to show below them.
        out: folder to write to.
        docs: page that takes them, the figure in `figures` beside it; None leaves it out.
        alternative: the figure in words.

    Raises:
        ValueError: no section of that name on the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(grid.markdown() for grid in grids)
    files = {f"{name}.md": text}
    for number, grid in enumerate(grids, 1):
        files[f"{name}.csv" if number == 1 else f"{name}_{number}.csv"] = grid.comma_separated()
    for file, content in files.items():
        with atomic_path(out / file) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="")
    shown = save_figure(figure, out / name)
    if docs is not None:
        folder = docs.parent / "figures"
        folder.mkdir(exist_ok=True)
        kept = save_figure(figure, folder / name)
        section = f"{text}\n![{alternative}](figures/{kept.name})"
        replace_section(docs, name, section, command_line())
    for grid in grids:
        stdout.print(grid.terminal())
        if grid.note:
            stdout.print(grid.note, soft_wrap=True, highlight=False)
    stdout.print(f"figure: {shown}", soft_wrap=True, highlight=False)
