"""Rewrite tables and figures of docs/tables.md and docs/speed.md: `make docs-tables`.

A section stands between `<!-- NAME -->` and `<!-- /NAME -->` and ends with its command. The
command is run, its Markdown replaces the tables above it, and its figure goes to docs/figures;
the rest of the page stays as it is. To change the command of a section, edit it on the page.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from evaluation.figures.drawing import save_figure
from jorder_preproc.atomic import write_text
from jorder_preproc.errors import UserError
from training.command_line import command

PAGE = Path(__file__).parents[1] / "docs/tables.md"
SPEED_PAGE = PAGE.with_name("speed.md")
SPEED = ("speed", "start-up", "workers")
"""Sections of `SPEED_PAGE`; the others are on `PAGE`."""

SECTIONS = ("restoration", *SPEED, "masks", "texture", "types", "order")
"""Sections that need shipped weights only; the page says how to train those of others."""

MAX_BYTES = 140_000
"""Of a contact sheet on the page."""


def read_command(page: str, name: str) -> list[str]:
    """The command of a section, as arguments of `python -m evaluation`."""
    return shlex.split(_find(page, name)["command"])


def replace_tables(page: str, name: str, tables: str) -> str:
    """The page with other tables in a section; its figure and its command stay."""
    start, end = _find(page, name).span("tables")
    return f"{page[:start]}{tables.strip()}\n\n{page[end:]}"


def update(page: Path, name: str, out: Path) -> None:
    """Run the command of a section, and put its tables and its figure on the page.

    Raises:
        UserError: no such section, or the command failed.
    """
    arguments = read_command(page.read_text(encoding="utf-8"), name)
    line = [sys.executable, "-m", "evaluation", *arguments, "--out", str(out)]
    if subprocess.run(line, check=False).returncode:
        raise UserError(f"the command of the section {name} failed: {shlex.join(line)}")
    figures = page.parent / "figures"
    for figure in out.glob(f"{name}.*"):
        if figure.suffix == ".png":
            shutil.copy(figure, figures)
        elif figure.suffix == ".jpg":
            with Image.open(figure) as sheet:
                save_figure(sheet, figures / name, MAX_BYTES)
    tables = (out / f"{name}.md").read_text(encoding="utf-8")
    # read again: another section may have changed while the command ran
    text = replace_tables(page.read_text(encoding="utf-8"), name, tables)
    write_text(page, text)


def _find(page: str, name: str) -> re.Match[str]:
    pattern = (
        rf"^<!-- {re.escape(name)} -->\n(?P<tables>(?:(?!<!--).)*?)(?:!\[[^\n]*\n\n)?"
        rf"```\npython -m evaluation (?P<command>[^\n]+)\n```\n<!-- /{re.escape(name)} -->$"
    )
    found = list(re.finditer(pattern, page, re.MULTILINE | re.DOTALL))
    if len(found) != 1:
        raise UserError(
            f"expected one section <!-- {name} --> ... <!-- /{name} --> on the page that ends "
            f"with a block of its command, python -m evaluation ..., got {len(found)}"
        )
    return found[0]


@command
def main(arguments: list[str]) -> None:
    """Update the sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", help=f"default: {' '.join(SECTIONS)}")
    parser.add_argument("--page", type=Path, help="default: docs/tables.md or docs/speed.md")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/docs_tables"))
    args = parser.parse_args(arguments)
    for name in args.sections or SECTIONS:
        page = args.page or (SPEED_PAGE if name in SPEED else PAGE)
        update(page, name, args.out / name)


if __name__ == "__main__":
    sys.exit(main())
