"""Griffe extension: names in docstrings link to their entry in the reference of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

_NAME = re.compile(r"(?<!\[)`([A-Za-z_][\w.]*)`")
_ENTRY = re.compile(r"^::: ([\w.]+)$", re.M)


class LinkNames(griffe.Extension):
    """Turn `name` in docstrings into a link where docs/reference/ has an entry of that name."""

    def __init__(self) -> None:
        super().__init__()
        pages = sorted((Path(__file__).parents[1] / "docs/reference").glob("*.md"))
        entries = [entry for page in pages for entry in _ENTRY.findall(page.read_text("utf-8"))]
        # of equal names the first page's, which is that of the package itself
        self.targets = {e.rpartition(".")[2]: e for e in reversed(entries)}
        self.targets |= {entry: entry for entry in entries}

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Link the names in one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _NAME.sub(self._link, obj.docstring.value)

    def _link(self, name: re.Match[str]) -> str:
        target = self.targets.get(name[1])
        return f"[{name[0]}][{target}]" if target else name[0]
