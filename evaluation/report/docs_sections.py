"""Sections of a page that commands write, so that no number in it was typed."""

from __future__ import annotations

from pathlib import Path

from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError


def check_section(page: Path, name: str) -> None:
    """See that `replace_section` will find its place, before the work begins.

    Raises:
        ValueError: no such page, or not one pair of markers in it.
    """
    _find_section(page, name)


def replace_section(page: Path, name: str, text: str, command: str) -> None:
    """Replace what lies between `<!-- NAME -->` and `<!-- /NAME -->`; all else stays.

    Args:
        page: a text file, UTF-8.
        name: of the section.
        text: Markdown to put there.
        command: what made it, shown below the text.

    Raises:
        ValueError: no such page, not one pair of markers in it, or one in the new text.
    """
    before, after = _find_section(page, name)
    section = f"\n{text.strip()}\n\n```\n{command}\n```\n"
    if any(marker in section for marker in _markers(name)):
        raise UserError(f"the section {name} must not hold its own markers")
    if "\r\n" in before:
        section = section.replace("\n", "\r\n")
    with atomic_path(page) as temporary:
        temporary.write_bytes((before + section + after).encode())


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def _find_section(page: Path, name: str) -> tuple[str, str]:
    """What comes before the section, with its first marker, and after, with its last."""
    first, last = _markers(name)
    expected = f"expected {first} and, further down, {last}, each once, on lines of their own"
    try:
        text = page.read_bytes().decode()
    except OSError as error:
        raise UserError(f"cannot read {page} ({error.strerror}); {expected}") from error
    begin, end = text.find(first), text.find(last)
    if not 0 <= begin < end or text.count(first) != 1 or text.count(last) != 1:
        raise UserError(f"{page} has no section {name}: {expected}")
    return text[: begin + len(first)], text[end:]
