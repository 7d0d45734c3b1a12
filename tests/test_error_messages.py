"""docs/error_messages.md explains messages that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/error_messages.md").read_text(encoding="utf-8")


def messages():
    """Every string of the program, with an ellipsis for each value in it."""
    for package in ("jorder_preproc", "evaluation"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                    yield "".join(parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@pytest.fixture(scope="module")
def program():
    return list(messages())


@pytest.mark.parametrize("heading", re.findall(r"^### `(.*)`$", PAGE, re.M))
def test_the_program_says_so(heading, program):
    pattern = re.compile(".*".join(map(re.escape, heading.split("…"))), re.S)
    assert any(pattern.search(message) for message in program)
