"""Tables as Markdown, as CSV, and for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from training.markdown import markdown_table

MISSING = "-"
"""Placeholder of a missing value."""

Cell = str | int | float | None


@dataclass(frozen=True)
class Grid:
    """A table: full numbers for CSV, rounded ones for people.

    Attributes:
        columns: their titles.
        rows: texts and numbers, one for each column; None where there is no value.
        digits: decimals, of the columns with floats.
        note: below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    def comma_separated(self) -> str:
        """In full precision; empty where there is no value."""
        return csv_lines([self.columns, *self.rows])

    def markdown(self) -> str:
        """As a Markdown table, its note below."""
        note = f"\n{self.note}\n" if self.note else ""
        return markdown_table(self.columns, self._texts()) + "\n" + note

    def terminal(self) -> Table:
        """For the terminal, with the note as the caption."""
        table = Table(caption=self.note or None, caption_justify="left")
        for number, title in enumerate(self.columns):
            table.add_column(Text(title), justify="right" if number else "left")
        for cells in self._texts():
            table.add_row(*map(Text, cells))
        return table

    def _texts(self) -> list[list[str]]:
        return [
            [self._text(title, cell) for title, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def _text(self, title: str, cell: Cell) -> str:
        if cell is None:
            return MISSING
        return f"{cell:.{self.digits[title]}f}" if isinstance(cell, float) else str(cell)


def csv_lines(rows: Iterable[Sequence[Cell]]) -> str:
    """Lines of a CSV file, floats in full precision."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([repr(float(cell)) if isinstance(cell, float) else cell for cell in row])
    return file.getvalue()
