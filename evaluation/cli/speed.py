"""`python -m evaluation speed`: how fast derainers are on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer
from mmengine.device import get_device

from evaluation.cli import options as cli
from evaluation.cli.figures import finish
from evaluation.speed import processes
from evaluation.speed.derainers import DEVEIL, PRENET, REFERENCE, Derainer, list_derainers
from evaluation.speed.tables import (
    draw_speed,
    speed_json,
    speed_table,
    start_up_table,
    workers_table,
)
from evaluation.speed.timing import measure
from evaluation.speed.workers import measure_workers
from jorder_preproc.atomic import write_text
from jorder_preproc.backends import Precision
from jorder_preproc.commands import stderr
from jorder_preproc.errors import UserError
from jorder_preproc.progress import progress_bar

SIZES = ("224x224", "481x321", "512x512", "1920x1080")
_LITE = "jorder_e_lite"
_MODELS = (REFERENCE, _LITE, f"{_LITE}{DEVEIL}", PRENET)
_BACKENDS = ("torch", "onnxruntime", "openvino")
_ONE_SIZE = "481x321"

app = typer.Typer()


def parse_size(text: str) -> tuple[int, int]:
    """Width and height, px, from `WIDTHxHEIGHT`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise UserError(f"a size must be WIDTHxHEIGHT in px, like 500x500, got {text!r}")
    return int(match[1]), int(match[2])


@app.command("speed")
def speed_command(
    models: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Network, NAME{DEVEIL} or {PRENET}; may be repeated. Default: "
            f"{', '.join(_MODELS)}; with --start-up or --workers {_LITE}."
        ),
    ] = None,
    backends: Annotated[
        list[str] | None,
        typer.Option(
            help=f"May be repeated. Default: {', '.join(_BACKENDS)}. `compile` takes minutes to "
            "compile each network."
        ),
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option(help=f"May be repeated. Default: {', '.join(get_args(Precision))}."),
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            help=f"WIDTHxHEIGHT, px; may be repeated. Default: {', '.join(SIZES)}; with "
            f"--start-up or --workers {_ONE_SIZE}."
        ),
    ] = None,
    batches: Annotated[
        list[int] | None, typer.Option(min=1, help="Images at a time; may be repeated. Default: 1.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each derainer on each size.")] = 5,
    max_seconds: Annotated[
        float, typer.Option(min=0, help="Skip what would take longer per repeat.")
    ] = 4.0,
    start_up: Annotated[
        bool, typer.Option("--start-up", help="Instead, the seconds until the first image.")
    ] = False,
    workers: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Instead, images per second of a DataLoader with so many workers; repeatable.",
        ),
    ] = None,
    device: cli.Device = None,
    out: cli.Out = None,
) -> None:
    """Time and memory of every network with every backend (Table 3), on CPU and GPU if any."""
    other = "start-up" if start_up else "workers" if workers else None
    if start_up and workers:
        raise UserError("--start-up and --workers are two measurements; leave one of them out")
    if other and (batches or device not in (None, "cpu")):
        raise UserError(f"--{other} takes single images on the CPU; leave out --batches, --device")
    cli.start("none", "cpu" if other else device)
    out = cli.output_folder(out, other or "speed")
    pixels = [parse_size(text) for text in sizes or ((_ONE_SIZE,) if other else SIZES)]
    derainers = list_derainers(
        models or ([_LITE] if other else _MODELS),
        backends or (("torch",) if other else _BACKENDS),
        precisions or (("float32",) if other else get_args(Precision)),
    )
    if other:
        # the layout is that of the loaded network
        derainers = list(dict.fromkeys(derainer._replace(layout=None) for derainer in derainers))
    if start_up:
        times = [
            {one: processes.start_up(one, size, repeats) for one in derainers} for size in pixels
        ]
        finish("start-up", list(map(start_up_table, times, pixels)), None, out)
    elif workers:
        _time_workers(derainers, workers, pixels, repeats, out)
    else:
        devices = [device] if device else list(dict.fromkeys(["cpu", get_device()]))
        _time_derainers(derainers, pixels, batches or (1,), devices, repeats, max_seconds, out)


def _time_derainers(
    derainers: Sequence[Derainer],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    devices: Sequence[str],
    repeats: int,
    max_seconds: float,
    out: Path,
) -> None:
    with progress_bar(stderr) as progress:
        total = len(devices) * len(derainers) * len(sizes) * len(batches) * repeats
        bar = progress.add_task("timing", total=total)
        measured = [
            measure(
                derainers,
                sizes,
                batches,
                device=each,
                repeats=repeats,
                max_seconds=max_seconds,
                advance=lambda: progress.advance(bar),
            )
            for each in devices
        ]
    finish(
        "speed", [speed_table(each, max_seconds) for each in measured], draw_speed(measured), out
    )
    write_text(out / "speed.json", speed_json(measured))


def _time_workers(
    derainers: Sequence[Derainer],
    workers: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    repeats: int,
    out: Path,
) -> None:
    with progress_bar(stderr) as progress:
        total = len(derainers) * len(sizes) * len(workers) * repeats
        bar = progress.add_task("data loaders", total=total)
        grids = [
            workers_table(
                measure_workers(
                    derainers, workers, size, repeats=repeats, advance=lambda: progress.advance(bar)
                ),
                size,
            )
            for size in sizes
        ]
    finish("workers", grids, None, out)
