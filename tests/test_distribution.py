"""The wheel and the source distribution: what they hold, and that they are the same each time."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("jorder_preproc", "configs")
OTHERS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
BUILD = """
from setuptools import build_meta
build_meta.build_sdist("out")
build_meta.build_wheel("out")
"""


def build(folder: Path) -> dict[str, Path]:
    """Build both from a copy of what they are made of, beside files that are none of it."""
    folder.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in OTHERS:
        shutil.copy(ROOT / name, folder / name)
    for stray in ("tests/test_a.py", "evaluation/a.py", "jorder_preproc/notes.txt", "photos/a.jpg"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).touch()
    (folder / "out").mkdir()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(
        [sys.executable, "-c", BUILD], cwd=folder, env=environment, check=True, capture_output=True
    )
    return {path.suffix: path for path in (folder / "out").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("build") / "first")


def expected() -> set[str]:
    """Files of the package, in the wheel: the modules and the data named here."""
    found = {path for path in (ROOT / "jorder_preproc").rglob("*.py")}
    for folder in ("weights", "web"):
        found |= set((ROOT / "jorder_preproc" / folder).glob("*.*"))
    names = {path.relative_to(ROOT).as_posix() for path in found} | {"jorder_preproc/py.typed"}
    for folder in ("mixins", "mmdet", "mmseg"):
        for path in (ROOT / "configs" / folder).glob("*.py"):
            names.add(f"jorder_preproc/configs/{folder}/{path.name}")
    return names


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = set(wheel.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == expected()
    files = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    assert {name.partition("/")[2] for name in about} == set(files)


def test_the_source_distribution_holds_what_a_wheel_is_made_of(built):
    with tarfile.open(built[".gz"]) as archive:
        members = archive.getmembers()
    assert all(member.isdir() or member.isfile() for member in members)
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    names = {name for name in names if not name.startswith("jorder_preproc.egg-info/")}
    inside = {name.replace("jorder_preproc/configs/", "configs/") for name in expected()}
    assert names == inside | set(OTHERS) | {"PKG-INFO", "setup.cfg"}


def test_both_are_the_same_each_time(built, tmp_path):
    again = build(tmp_path / "second")
    assert built.keys() == again.keys() == {".whl", ".gz"}
    for suffix, path in built.items():
        first, second = (
            hashlib.sha256(each.read_bytes()).hexdigest() for each in (path, again[suffix])
        )
        assert first == second, suffix
