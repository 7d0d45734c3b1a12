"""How long derainers take for a picture, and how much memory: Table 3.

The weights are untrained: time and memory do not depend on them.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evaluation.figures.rainy_photos import Cell as Value
from evaluation.figures.rainy_photos import Grid, new_figure
from evaluation.report.tables import MISSING
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.models import (
    DeveilNetwork,
    Jorder,
    build_deveil_model,
    build_model,
    list_models,
)
from jorder_preproc.models.weights import DEVEIL_WEIGHTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = "jorder_e_practical"
"""The authors' light network, to which ratios are."""

SIZES = ("80x80", "500x500", "1920x1080")
DEVEIL = "+deveil"
_MEGABYTE = 1e6
_WARM_UP = (3, 80, 80)


@dataclass
class Cell:
    """One derainer on one size of picture.

    Attributes:
        row: name of the derainer.
        size: width and height, px.
        seconds: of each repeat, after the warm-up; empty where it was left out.
        peak_bytes: memory; None where it was not measured.
    """

    row: str
    size: tuple[int, int]
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None


def default_rows() -> list[str]:
    """Every network, and the shipped one with the veil's removal."""
    return [*list_models(), f"jorder_e_lite{DEVEIL}"]


def parse_size(text: str) -> tuple[int, int]:
    """Width and height.

    Raises:
        ValueError: not WIDTHxHEIGHT.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise UserError(f"a size must be WIDTHxHEIGHT in px, like 500x500, got {text!r}")
    return int(match[1]), int(match[2])


def build_row(name: str, device: str) -> Callable[[Tensor], Tensor]:
    """A derainer with untrained weights, from a float (3, H, W) on the CPU to one like it.

    Args:
        name: of a network, with `+deveil` for the veil's removal, too (Sec. 5.2).
        device: where to run it.

    Raises:
        ValueError: unknown name.
    """
    network: Jorder = build_model(name.removesuffix(DEVEIL)).eval().requires_grad_(False)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    deveil: DeveilNetwork | None = None
    if name.endswith(DEVEIL):
        deveil = build_deveil_model(DEVEIL_WEIGHTS).eval().requires_grad_(False).to(device)
    # the result comes back to the CPU, so CUDA is waited for
    return lambda image: (
        derain(network, image, deveil=deveil is not None, deveil_model=deveil).background
    )


def measure(
    rows: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    device: str = "cpu",
    repeats: int = 5,
    longest: float = 20.0,
    advance: Callable[[], object] | None = None,
) -> list[Cell]:
    """Time derainers in turn, so that a slow moment of the machine meets all of them.

    Each is warmed up on a picture of 80 x 80 px, which also tells about how long others
    will take: those of more than `longest` seconds are left out.

    Args:
        rows: names; see `build_row`.
        sizes: width and height, px.
        device: where to run them.
        repeats: for each row and size.
        longest: see above.
        advance: called after each row of each repeat of each size.

    Returns:
        Size by size, row by row.

    Raises:
        ValueError: unknown name.
    """
    derainers = {name: build_row(name, device) for name in rows}
    speed = {name: _warm_up(run) for name, run in derainers.items()}
    cells: list[Cell] = []
    for width, height in sizes:
        image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
        own = {name: Cell(name, (width, height)) for name in rows}
        short = [name for name in rows if width * height * speed[name] <= longest]
        for _ in range(repeats):
            for name in rows:
                if name in short:
                    own[name].seconds.append(_time(derainers[name], image))
                if advance is not None:
                    advance()
        for name in short:
            own[name].peak_bytes = peak_memory(name, (width, height), device)
        cells += own.values()
    return cells


def _warm_up(run: Callable[[Tensor], Tensor]) -> float:
    """Seconds per pixel."""
    image = torch.rand(_WARM_UP, generator=torch.Generator().manual_seed(0))
    run(image)
    return min(_time(run, image) for _ in range(2)) / image[0].numel()


def _time(run: Callable[[Tensor], Tensor], image: Tensor) -> float:
    start = time.perf_counter()
    run(image)
    return time.perf_counter() - start


def peak_memory(row: str, size: tuple[int, int], device: str = "cpu") -> int:
    """Most bytes that deraining one picture takes, on top of the network and the picture.

    On the CPU in a process of its own, whose resident memory is looked at before and at its
    highest; on a GPU what PyTorch allocated there.

    Args:
        row: see `build_row`.
        size: width and height, px.
        device: where to run it.
    """
    if not device.startswith("cuda"):
        code = f"from evaluation.figures.speed import print_memory; print_memory({row!r}, {size!r})"
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        child = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return int(json.loads(child.stdout.splitlines()[-1]))
    run, image = build_row(row, device), torch.rand(3, size[1], size[0])
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(image)
    return torch.cuda.max_memory_allocated(device) - before


def print_memory(row: str, size: tuple[int, int]) -> None:
    """What `peak_memory` asks of a process of its own."""
    run, image = build_row(row, "cpu"), torch.rand(3, size[1], size[0])
    run(torch.rand(3, 16, 16))  # what PyTorch needs in any case
    before = _peak_bytes()
    run(image)
    print(json.dumps(_peak_bytes() - before))


def _peak_bytes() -> int:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux's ru_maxrss begins with that of the process which started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def speed_table(cells: Sequence[Cell], device: str) -> Grid:
    """Median and quartiles of the seconds, memory, and how many times faster than the reference.

    Args:
        cells: what `measure` gives.
        device: where they were run.
    """
    medians = {(c.row, c.size): statistics.median(c.seconds) for c in cells if c.seconds}
    rows: list[list[Value]] = []
    for cell in cells:
        size = "x".join(map(str, cell.size))
        if not cell.seconds:
            rows.append([cell.row, size, *[None] * 5])
            continue
        median, reference = medians[cell.row, cell.size], medians.get((REFERENCE, cell.size))
        low, high = quartiles(cell.seconds)
        rows.append(
            [
                cell.row,
                size,
                median,
                low,
                high,
                None if cell.peak_bytes is None else cell.peak_bytes / _MEGABYTE,
                None if reference is None else reference / median,
            ]
        )
    repeats = max((len(cell.seconds) for cell in cells), default=0)
    note = (
        f"{_device_name(device)}, torch {torch.__version__}; {repeats} repeats, in turn, untrained "
        f"weights. Speed-up is against {REFERENCE} in the same run; memory is what one "
        f"picture takes on top of the network. {MISSING} was left out: too slow here."
    )
    columns = ["derainer", "size", "median, s", "quartile 1, s", "quartile 3, s"]
    digits = {**dict.fromkeys(columns[2:], 3), "peak memory, MB": 0, "speed-up": 2}
    return Grid([*columns, "peak memory, MB", "speed-up"], rows, digits, note)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third, interpolated between the values."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def draw_speed(devices: Sequence[tuple[str, Sequence[Cell]]]) -> Figure:
    """Median seconds of each derainer by size, with the quartiles as bars; a plot per device."""
    figure = new_figure(3.5 + 3.5 * len(devices))
    first = None
    for number, (device, cells) in enumerate(devices, 1):
        first = axes = figure.add_subplot(1, len(devices), number, sharey=first)
        axes.set_title(device)
        _draw_device(axes, cells)
    return figure


def _draw_device(axes: Axes, cells: Sequence[Cell]) -> None:
    for row in dict.fromkeys(cell.row for cell in cells):
        own = [cell for cell in cells if cell.row == row and cell.seconds]
        if not own:
            continue
        medians = [statistics.median(cell.seconds) for cell in own]
        spread = [quartiles(cell.seconds) for cell in own]
        errors = [
            [median - low for median, (low, _) in zip(medians, spread, strict=True)],
            [high - median for median, (_, high) in zip(medians, spread, strict=True)],
        ]
        pixels = [cell.size[0] * cell.size[1] for cell in own]
        axes.errorbar(pixels, medians, errors, marker="o", markersize=4, label=row)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("pixels")
    axes.set_ylabel("seconds")
    axes.legend(fontsize=7)
