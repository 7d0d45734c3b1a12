"""`python -m evaluation user-study` as a user runs it."""

import csv
import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from evaluation.__main__ import app


def run(*arguments):
    return CliRunner().invoke(app, ["user-study", *map(str, arguments)])


@pytest.fixture
def folders(tmp_path):
    for method in ("ours", "theirs"):
        (tmp_path / method).mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / method / "a.png")
    return tmp_path


def test_make_and_rank(folders):
    out = folders / "study"
    methods = [f"--method={name}={folders / name}" for name in ("ours", "theirs")]
    result = run("make", *methods, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 pairs for participants" in result.output
    key = json.loads((out / "key.json").read_text())
    codes = {name: code for code, name in key["methods"].items()}
    vote = {"image": "i0", "left": codes["ours"], "right": codes["theirs"]}
    files = []
    for participant in ("p", "q"):
        document = {"study": key["study"], "participant": participant}
        document["votes"] = [{**vote, "preferred": codes["theirs"]}]
        files.append(folders / f"{participant}.json")
        files[-1].write_text(json.dumps(document))
    result = run("rank", out, *files)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((out / "rank_product.csv").open()))
    assert [(row["method"], float(row["rank product"])) for row in rows] == [
        ("theirs", 1.0), ("ours", 2.0),
    ]  # fmt: skip
    assert [float(row["preferred, %"]) for row in rows] == [100.0, 0.0]


@pytest.mark.parametrize("text", ["ours", "=x", "ours="])
def test_a_method_needs_name_and_folder(folders, text):
    result = run("make", f"--method={text}", "--out", folders / "study")
    assert result.exit_code == 2
    assert f"--method takes NAME=FOLDER, each name once, got '{text}'" in " ".join(
        result.output.split()
    )
