"""Every example runs as its docstring says, and takes rain off."""

import importlib
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
# `make demo` runs the first; the others load the second
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - {"demo", "photograph"})


@pytest.mark.parametrize("name", NAMES)
def test_example(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"examples.{name}")
    assert f"python -m examples.{name}" in module.__doc__
    module.main()
    printed = re.search(r"rainy ([\d.]+) dB, derained ([\d.]+) dB", capsys.readouterr().out)
    before, after = map(float, printed.groups())
    assert after > before + 6
