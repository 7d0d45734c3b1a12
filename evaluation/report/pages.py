"""Templates of HTML pages that need no other file."""

from __future__ import annotations

from pathlib import Path

import jinja2


def page_environment(folder: Path) -> jinja2.Environment:
    """The templates of a folder; what they use must be defined, and is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
