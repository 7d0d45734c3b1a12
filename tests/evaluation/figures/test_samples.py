from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.report.html import write_report
from tests.evaluation.report.example import classification, detection, with_samples


def test_tables_take_turns(tmp_path):
    first, second = (with_samples(make(), tmp_path) for make in (classification, detection))
    several = replace(first, samples=first.samples * 2)
    write_report([several, second], tmp_path)
    result = CliRunner().invoke(
        app, ["figure", "samples", str(tmp_path), "--rows", "3", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    sheet = np.array(Image.open(tmp_path / "out/samples.jpg")).astype(int)
    assert sheet.shape == (26 + 3 * (300 + 26 + 6), 3 * 406, 3)
    for row in range(3):
        for column, colour in enumerate([(0, 128, 0), (0, 0, 255), (255, 0, 0)]):
            pixel = sheet[26 + row * 332 + 150, column * 406 + 200]
            assert pixel == pytest.approx(colour, abs=12)


def test_a_report_without_samples(tmp_path):
    write_report([classification()], tmp_path)
    result = CliRunner().invoke(app, ["figure", "samples", str(tmp_path)])
    assert result.exit_code == 2 and "has no samples" in result.output
