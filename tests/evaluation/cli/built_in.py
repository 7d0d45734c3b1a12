"""The built-in benchmark with fewer scenes, for tests of its promises."""

from pathlib import Path

from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.datasets.synthetic import dataset as embedded
from evaluation.report.schema import Results, from_json


def run_built_in(task: str, count: int, folder: Path, monkeypatch) -> Results:
    """The results of `python -m evaluation TASK` on `count` scenes."""
    monkeypatch.setitem(embedded.SIZES, task, count)
    result = CliRunner().invoke(
        app, [task, "--out", str(folder), "--samples", "1", "--workers", "0"]
    )
    assert result.exit_code == 0, result.output
    (results,) = from_json((folder / "results.json").read_text())
    return results


def check_promises(results: Results, name: str, least_clean: float) -> None:
    """Good in clear weather, hurt by rain, helped by the derainer, not harmed by it."""
    metric = results.metrics[name]
    assert metric.clean >= least_clean
    assert metric.clean - metric.rainy >= 0.15
    assert metric.recovery >= 0.8
    assert metric.harm >= -0.01
