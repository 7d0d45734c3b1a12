"""Tables, figure and JSON of what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evaluation.figures.drawing import new_figure
from evaluation.provenance import provenance
from evaluation.report.grid import MISSING, Cell, Grid
from evaluation.speed.derainers import REFERENCE, Derainer
from evaluation.speed.machine import describe_machine
from evaluation.speed.processes import START_UP_STEPS, Shape
from evaluation.speed.timing import Measurement, Timing
from evaluation.speed.workers import WorkerRates

_MEGABYTE = 1e6
_GIGA = 1e9


def speed_table(measured: Measurement, max_seconds: float) -> Grid:
    """Seconds, their ratio to the reference's, achieved rate and memory, by size and derainer."""
    references = _fastest_torch(measured.timings, REFERENCE)
    rows: list[list[Cell]] = []
    for timing in measured.timings:
        cells: list[Cell] = [None] * 7
        if timing.seconds:
            low, median, high = timing.quartiles()
            reference = references.get((timing.size, timing.batch))
            rate = None if timing.flops is None else timing.flops / median
            # int8 has no large layer of its own in eager PyTorch
            best = measured.best.get(timing.derainer.precision, measured.best.get("float32"))
            cells = [
                median,
                f"{low:.3f} to {high:.3f}",
                median / timing.pixels * _GIGA,
                None if reference is None else median / reference,
                None if rate is None else rate / _GIGA,
                None if rate is None or best is None else 100 * rate / best,
                None if timing.peak_bytes is None else timing.peak_bytes / _MEGABYTE,
            ]
        size = "x".join(map(str, timing.size))
        images = size if timing.batch == 1 else f"{timing.batch} of {size}"
        rows.append([timing.derainer.name, timing.derainer.run_by, images, *cells])
    digits = {
        "median, s": 3,
        "quartiles, s": 3,
        "ns/pixel": 0,
        "ratio": 3,
        "GFLOP/s": 0,
        "% of best": 0,
        "memory, MB": 0,
    }
    return Grid(
        ["derainer", "run by", "images", *digits], rows, digits, _note(measured, max_seconds)
    )


def fastest_backends(timings: Sequence[Timing]) -> str:
    """The fastest backend for each network in each precision, beside PyTorch in float32."""
    parts = []
    for name in dict.fromkeys(timing.derainer.name for timing in timings):
        base = _fastest_torch(timings, name)
        ratios: dict[Derainer, list[float]] = {}
        for timing in timings:
            reference = base.get((timing.size, timing.batch))
            if timing.derainer.name == name and timing.seconds and reference is not None:
                ratios.setdefault(timing.derainer, []).append(timing.median / reference)
        medians = {derainer: float(np.median(values)) for derainer, values in ratios.items()}
        found = []
        for precision in dict.fromkeys(derainer.precision for derainer in medians):
            own = [derainer for derainer in medians if derainer.precision == precision]
            fastest = min(own, key=medians.__getitem__)
            found.append(f"{fastest.run_by} ({medians[fastest]:.2f})")
        if found:
            parts.append(f"{name}: {', '.join(found)}")
    return "; ".join(parts)


def _fastest_torch(timings: Sequence[Timing], name: str) -> dict[Shape, float]:
    """Median seconds of a network in eager PyTorch, float32, in its faster layout."""
    fastest: dict[Shape, float] = {}
    for timing in timings:
        own = timing.derainer
        if timing.seconds and own[:3] == (name, "torch", "float32"):
            shape = timing.size, timing.batch
            fastest[shape] = min(timing.median, fastest.get(shape, timing.median))
    return fastest


def _note(measured: Measurement, max_seconds: float) -> str:
    repeats = max((len(timing.seconds) for timing in measured.timings), default=0)
    best = ", ".join(f"{rate / _GIGA:.0f} in {name}" for name, rate in measured.best.items())
    skipped = any(not timing.seconds for timing in measured.timings)
    lines = [
        f"{describe_machine(measured.device)}; {repeats} repeats in turn, of uint8 photographs in "
        "heavy rain, derained even if they look dry. "
        f"Ratio: to the time of {REFERENCE} in torch float32 in its faster layout. % of best: of "
        f"the fastest large layer of torch in the same run, GFLOP/s: {best}. Memory: beyond "
        "network and image.",
    ]
    fastest = fastest_backends(measured.timings)
    if fastest:
        lines.append(f"Fastest, with the time as a share of that of torch float32: {fastest}.")
    if skipped:
        lines.append(
            f"{MISSING}: skipped, since a repeat would take more than {max_seconds:g} s "
            "(--max-seconds)."
        )
    lines += [f"Left out: {remark}." for remark in measured.remarks]
    return "\n\n".join(lines)


def draw_speed(measured: Sequence[Measurement]) -> Figure:
    """Median seconds by pixels, with the quartiles as bars; a plot for each device."""
    figure = new_figure(4.5 + 4.5 * len(measured), 4.0)
    first = None
    for number, each in enumerate(measured, 1):
        first = axes = figure.add_subplot(1, len(measured), number, sharey=first)
        done = [timing for timing in each.timings if timing.seconds]
        names = list(dict.fromkeys(timing.derainer.name for timing in done))
        runs = list(dict.fromkeys(timing.derainer[1:] for timing in done))
        for derainer in dict.fromkeys(timing.derainer for timing in done):
            own = [timing for timing in done if timing.derainer == derainer]
            low, median, high = np.array([timing.quartiles() for timing in own]).T
            axes.errorbar(
                [timing.pixels for timing in own],
                median,
                [median - low, high - median],
                color=f"C{names.index(derainer.name)}",
                marker="osv^D<>*Xph"[runs.index(derainer[1:]) % 11],
                markersize=4,
                linewidth=0.8,
                label=f"{derainer.name}, {derainer.run_by}",
            )
        axes.set(title=each.device, xscale="log", yscale="log", xlabel="pixels", ylabel="seconds")
        axes.legend(fontsize=5, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def speed_json(measured: Sequence[Measurement]) -> str:
    """Every repeat, with versions and machine."""
    devices: list[dict[str, Any]] = []
    for each in measured:
        document = asdict(each)
        for row, timing in zip(document["timings"], each.timings, strict=True):
            row["derainer"] = timing.derainer._asdict()
        devices.append({"machine": describe_machine(each.device), **document})
    document = {"provenance": provenance(), "devices": devices}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def start_up_table(seconds: dict[Derainer, np.ndarray], size: tuple[int, int]) -> Grid:
    """Median seconds until the first image is derained, step by step."""
    columns = [
        "import torch, torchvision",
        "import jorder_preproc",
        *START_UP_STEPS[2:4],
        "all of these",
        START_UP_STEPS[4],
    ]
    rows: list[list[Cell]] = []
    repeats = 0
    for derainer, steps in seconds.items():
        repeats = len(steps)
        until_first = steps[:, :4]
        cells = [*until_first.T, until_first.sum(1), steps[:, 4]]
        medians = [float(np.median(cell)) for cell in cells]
        rows.append([derainer.name, derainer.run_by, *medians])
    note = (
        f"Seconds, medians of {repeats} new processes, on one photograph of {size[0]}x{size[1]}. "
        f"{describe_machine('cpu')}."
    )
    return Grid(["derainer", "run by", *columns], rows, dict.fromkeys(columns, 3), note)


def workers_table(rates: Sequence[WorkerRates], size: tuple[int, int]) -> Grid:
    """Images per second of DataLoaders, over the same with one worker, and memory."""
    single = {row.derainer: float(np.median(row.rates)) for row in rates if row.workers == 1}
    digits = {"images/s": 2, "quartile 1": 2, "quartile 3": 2, "over one": 2, "memory, MB": 0}
    rows: list[list[Cell]] = []
    for row in rates:
        low, median, high = np.quantile(row.rates, (0.25, 0.5, 0.75)).tolist()
        one = single.get(row.derainer)
        memory = None if row.private_bytes is None else row.private_bytes / _MEGABYTE
        ratio = None if one is None else median / one
        numbers: list[Cell] = [row.workers, median, low, high, ratio, memory]
        rows.append([row.derainer.name, row.derainer.run_by, *numbers])
    note = (
        f"{describe_machine('cpu')}; repeats in turn, of uint8 photographs of {size[0]}x{size[1]} "
        "in heavy rain. 0 workers: the main process, with all threads; workers have one thread "
        "each. Memory: of a worker, not shared with other processes."
    )
    return Grid(["derainer", "run by", "workers", *digits], rows, digits, note)
