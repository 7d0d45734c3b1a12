"""Files that tools outside read: they must not fall behind the rest."""

import re
from importlib.metadata import metadata
from pathlib import Path

import yaml

import jorder_preproc

ROOT = Path(__file__).parents[1]
METADATA = metadata("jorder-preproc")


def load(path):
    return yaml.safe_load((ROOT / path).read_text())


def test_one_version():
    citation = load("CITATION.cff")
    assert METADATA["Version"] == jorder_preproc.__version__ == citation["version"]
    assert METADATA["License-Expression"] == citation["license"]


def test_the_hooks_run_what_make_lint_runs():
    (repo,) = load(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"].removeprefix(".venv/bin/") for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    lines = re.findall(r"\t\$\(BIN\)/(.+?)(?: \.)?\n", recipe)
    assert hooks == lines


def test_the_workflow_runs_what_is_there():
    jobs = load(".github/workflows/ci.yml")["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert commands == ["make lint", ".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_issue_templates_have_a_name_and_a_purpose():
    templates = list((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md"))
    assert templates
    for path in templates:
        _, head, _ = path.read_text().split("---\n", 2)
        assert {"name", "about"} <= yaml.safe_load(head).keys()
