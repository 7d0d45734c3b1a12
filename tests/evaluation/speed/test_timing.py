import json
import statistics

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.cli.speed import parse_size
from evaluation.speed import processes, tables, timing
from evaluation.speed.derainers import Derainer
from evaluation.speed.machine import Layer, best_layers, count_flops, describe_machine
from evaluation.speed.timing import Measurement, Timing
from evaluation.speed.workers import WorkerRates
from jorder_preproc.errors import UserError
from jorder_preproc.models import get_variant

LITE = Derainer("jorder_e_lite")
REFERENCE = Derainer("jorder_e_practical")


@pytest.fixture
def clock(monkeypatch):
    """Derainers that take a known time for each pixel, and the order in which they run."""
    now, order = [0.0], []

    def build(derainer, device):
        if derainer.backend == "onnxruntime":
            raise UserError("not here")

        def run(images):
            order.append((derainer.name, images.shape[-1]))
            now[0] += {"fast": 1e-5, "slow": 1.0}[derainer.name] * images[:, 0].numel()
            return images

        return run

    def layer():
        order.append(("layer", 0))
        now[0] += 2.0

    monkeypatch.setattr(timing, "build", build)
    monkeypatch.setattr(timing, "count_flops", lambda run: run() is None or 5)
    monkeypatch.setattr(timing, "peak_memory", lambda derainer, shapes, device: [7] * len(shapes))
    layers = [Layer("layer", "float32", layer, 30), Layer("other", "float32", layer, 40)]
    monkeypatch.setattr(timing, "best_layers", lambda device, precisions: layers)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    return order


def test_derainers_take_turns_and_slow_ones_are_left_out(clock):
    derainers = [Derainer("fast"), Derainer("slow"), Derainer("fast", "onnxruntime")]
    turns = []
    measured = timing.measure(
        derainers,
        [(20, 10), (8, 4)],
        (1, 2),
        repeats=2,
        max_seconds=70,
        advance=lambda: turns.append(len(clock)),
    )
    assert measured.remarks == ["not here"] and len(turns) == 3 * 4 * 2
    shapes = [(t.derainer.name, t.size, t.batch) for t in measured.timings]
    sizes = [((8, 4), 1), ((8, 4), 2), ((20, 10), 1), ((20, 10), 2)]
    assert shapes == [(name, *size) for size in sizes for name in ("fast", "slow")]
    medians = [statistics.median(t.seconds) if t.seconds else None for t in measured.timings]
    assert medians == pytest.approx([3.2e-4, 32.0, 6.4e-4, 64.0, 2e-3, None, 4e-3, None])
    assert [t.peak_bytes for t in measured.timings] == [7, 7, 7, 7, 7, None, 7, None]
    assert [t.flops for t in measured.timings] == [5, 5, 5, 5, 5, None, 5, None]
    assert measured.best == {"float32": 20.0}
    # at the smallest size: the operations of each, a warm-up of each, and two rounds
    first = [name for name, width in clock if width in (0, 8)][2 : 2 + 4 + 2 * 4]
    assert first == 2 * ["fast", "slow"] + 2 * ["layer", "layer", "fast", "slow"]


def test_the_table_is_worked_by_hand(monkeypatch):
    monkeypatch.setattr(tables, "describe_machine", lambda device: f"A {device}")
    size = (80, 60)
    timings = [
        Timing(LITE._replace(precision="bfloat16"), size, 1, [1.0, 3.0, 2.0], 4 * 10**9, 5_000_000),
        Timing(LITE._replace(layout="NCHW"), size, 1, [4.0], 4 * 10**9, None),
        Timing(LITE._replace(backend="openvino"), size, 1, [5.0], 4 * 10**9, None),
        Timing(REFERENCE._replace(layout="NCHW"), size, 1, [16.0, 16.0, 18.0], 8 * 10**9, None),
        Timing(REFERENCE._replace(layout="channels-last"), size, 1, [20.0], 8 * 10**9, None),
        Timing(REFERENCE._replace(layout="NCHW"), size, 2),
    ]
    best = {"float32": 2e9, "bfloat16": 8e9}
    grid = tables.speed_table(Measurement("cpu", timings, best, ["no such thing"]), 3.0)
    first = ["jorder_e_lite", "torch bfloat16", "80x60", 2.0, "1.500 to 2.500"]
    assert list(grid.rows[0]) == [*first, 2.0 / 4800 * 1e9, 0.125, 2.0, 25.0, 5.0]
    assert [row[5] for row in grid.rows[3:5]] == [16.0 / 4800 * 1e9, 20.0 / 4800 * 1e9]
    assert [row[6] for row in grid.rows[1:5]] == [0.25, 5 / 16, 1.0, 1.25]
    assert list(grid.rows[5]) == [
        *("jorder_e_practical", "torch float32 NCHW", "2 of 80x60"),
        *[None] * 7,
    ]
    assert (
        "jorder_e_lite: torch bfloat16 (0.50), torch float32 NCHW (1.00); "
        "jorder_e_practical: torch float32 NCHW (1.00)."
    ) in grid.note
    assert "2 in float32, 8 in bfloat16" in grid.note and "more than 3 s" in grid.note
    assert grid.note.startswith("A cpu; 3 repeats") and "Left out: no such thing." in grid.note


def test_operations_are_those_of_the_table_of_variants():
    variant = get_variant("jorder_e_practical")
    image = torch.zeros(1, 3, 64, 48, dtype=torch.uint8)
    run = timing.build(REFERENCE, "cpu")
    assert count_flops(lambda: run(image)) == 2 * variant.macs_per_pixel * 64 * 48


def test_layers_count_their_own_operations():
    found = {(layer.name, layer.precision): layer.flops for layer in best_layers("cpu", ["int8"])}
    assert not found
    layers = best_layers("cpu", ["float32", "bfloat16"])
    product, convolution, other = layers[:3]
    assert [layer.precision for layer in layers] == 3 * ["float32"] + 3 * ["bfloat16"]
    assert product.flops == 2 * product.run().shape[0] ** 3
    result = convolution.run()
    assert convolution.flops == other.flops == 2 * result.numel() * 9 * 64
    torch.testing.assert_close(result, other.run(), rtol=1e-4, atol=1e-3)


def test_peak_memory_holds_at_least_the_features_of_an_image():
    # 32 channels of float32 on each pixel, before and after a block
    small, large = processes.peak_memory(REFERENCE, [((40, 30), 1), ((400, 300), 1)])
    assert large > 2 * 32 * 4 * 400 * 300 > small


def test_start_up_is_timed_step_by_step():
    (steps,) = processes.start_up(LITE, (48, 40), 1)
    assert len(steps) == len(processes.START_UP_STEPS) and (steps > 0).all()
    grid = tables.start_up_table({LITE: np.array([[1.0, 2, 3, 4, 5], [3.0, 2, 3, 4, 5]])}, (9, 8))
    assert list(grid.rows[0]) == ["jorder_e_lite", "torch float32", 2.0, 2.0, 3.0, 4.0, 11.0, 5.0]
    assert "2 new processes" in grid.note and "9x8" in grid.note


def test_images_per_second_are_beside_those_of_one_worker():
    rows = [
        WorkerRates(LITE, 1, [2.0, 4.0, 3.0], 8_000_000),
        WorkerRates(LITE, 2, [6.0, 6.0, 7.0], 9_000_000),
        WorkerRates(REFERENCE, 2, [1.0]),
    ]
    found = tables.workers_table(rows, (9, 8)).rows
    assert list(found[0][2:]) == [1, 3.0, 2.5, 3.5, 1.0, 8.0]
    assert list(found[1][2:]) == [2, 6.0, 6.0, 6.5, 2.0, 9.0]
    assert list(found[2][2:]) == [2, 1.0, 1.0, 1.0, None, None]


def speed(*arguments):
    return CliRunner().invoke(app, ["speed", *map(str, arguments)])


def test_the_command_writes_table_figure_and_every_repeat(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "peak_memory", lambda derainer, shapes, device: [3 * 10**6])
    sizes = ["--sizes", "32x24", "--repeats", 2, "--device", "cpu", "--out", tmp_path]
    backends = ["--backends", "torch", "--backends", "onnxruntime", "--precisions", "bfloat16"]
    result = speed("--models", "jorder_e_lite", *backends, *sizes)
    assert result.exit_code == 0, result.output
    (device,) = json.loads((tmp_path / "speed.json").read_text())["devices"]
    (row,) = device["timings"]
    assert row["derainer"]["precision"] == "bfloat16" and row["size"] == [32, 24]
    assert len(row["seconds"]) == 2 and device["machine"] == describe_machine("cpu")
    text = (tmp_path / "speed.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("| jorder_e_lite |"))
    assert line.startswith("| jorder_e_lite | torch bfloat16 | 32x24 |") and line.endswith("| 3 |")
    assert "Left out: onnxruntime has no bfloat16" in text
    assert (tmp_path / "speed.png").stat().st_size and (tmp_path / "speed.csv").stat().st_size


def test_the_command_times_data_loaders(tmp_path):
    options = ["--sizes", "32x24", "--models", "jorder_e_lite", "--repeats", 1, "--out", tmp_path]
    result = speed("--workers", 0, "--workers", 1, *options)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "workers.md").read_text().splitlines()[2:4]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:3] for row in cells] == [["jorder_e_lite", "torch float32", n] for n in "01"]
    assert all(float(row[3]) > 0 for row in cells) and cells[1][6] == "1.00"


@pytest.mark.parametrize("size", ["80", "80x", "0x80", "80X80", "-8x8"])
def test_a_size_must_have_width_and_height(size):
    assert speed("--sizes", size, "--device", "cpu").exit_code == 2
    with pytest.raises(ValueError, match="a size must be WIDTHxHEIGHT"):
        parse_size(size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start-up", "--workers", "1"], "two measurements"),
        (["--start-up", "--batches", "2"], "leave out --batches"),
        (["--workers", "1", "--device", "cuda"], "on the CPU"),
        (["--start-up", "--models", "PReNet"], "unknown model 'PReNet'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, tmp_path):
    result = speed(*options, "--out", tmp_path)
    assert result.exit_code == 2 and message in result.stderr
