"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns are aligned left and the others right, no line end."""
    rule = ["---" if number < left else "---:" for number in range(len(columns))]
    lines = [
        [" ".join(cell.replace("|", "\\|").split()) for cell in cells]
        for cells in (columns, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
