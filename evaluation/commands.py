"""What the commands of `python -m evaluation` share: options, consoles, errors, the device."""

from __future__ import annotations

import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import mmengine.device.utils
import torch
import typer
from mmengine.device import get_device
from mmengine.dist import init_dist
from rich.console import Console
from rich.markup import escape

from evaluation.engine import UnreadableImage
from evaluation.reference import CleanScoreError
from jorder_preproc.rain import PRESETS

stdout = Console()
stderr = Console(stderr=True)


class Launcher(str, Enum):
    """How the processes of a run find each other."""

    none = "none"
    pytorch = "pytorch"
    slurm = "slurm"
    mpi = "mpi"


OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder; default: evaluation_output/TASK.")
]
PresetOption = Annotated[str, typer.Option(help=f"Kind of rain: {', '.join(PRESETS)}.")]
SeedOption = Annotated[
    int, typer.Option(min=0, help="Of the rain; same seed and name of a picture, same rain.")
]
DerainerOption = Annotated[str, typer.Option(help="Derainer; `jorder models` lists them.")]
WeightsOption = Annotated[
    Path | None, typer.Option(help="Weights of the derainer (safetensors) in place of the shipped.")
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most so many images, evenly spread over the data set.")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N for the model; default: the GPU if any.")
]
DocsOption = Annotated[
    Path | None, typer.Option(help="Page whose section of the command's name takes the table.")
]


def start(launcher: Launcher, device: str | None) -> None:
    """Choose the device and meet the other processes, before anything touches a GPU."""
    if device is not None:
        kind, _, number = device.partition(":")
        if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not number.isdecimal())):
            fail(f"--device must be cpu, cuda or cuda:N, got {device}")
        if kind == "cuda" and not torch.cuda.is_available():
            fail("--device: no CUDA device is there; leave the option out for the CPU")
        if number and launcher is not Launcher.none:
            fail(f"--device {device} is for one process; with --launcher each takes its own")
        if number and int(number) >= torch.cuda.device_count():
            fail(f"--device {device}: there are {torch.cuda.device_count()}, counted from 0")
        if number:
            torch.cuda.set_device(int(number))
        # MMEngine made its choice as it was imported, and CUDA read its environment then
        mmengine.device.utils.DEVICE = kind
    if launcher is not Launcher.none:
        if launcher is Launcher.pytorch and "RANK" not in os.environ:
            fail(
                "--launcher pytorch is for torchrun: "
                "torchrun --nproc-per-node N -m evaluation TASK --launcher pytorch"
            )
        if get_device() == "cuda":
            init_dist(launcher.value, backend="nccl")
        elif launcher is Launcher.pytorch:  # MMEngine's own way wants a GPU
            torch.distributed.init_process_group("gloo")
        else:
            fail(f"--launcher {launcher.value} needs GPUs; on CPUs use torchrun and pytorch")


class errors:
    """Turns what a user can mend into one line and exit status 2."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ValueError | OSError | UnreadableImage | CleanScoreError):
            fail(str(error))


def fail(message: str) -> NoReturn:
    """Print the message and end with exit status 2."""
    stderr.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(2)


def command_line() -> str:
    """The command as it was typed, for what it writes."""
    return shlex.join(["python", "-m", "evaluation", *sys.argv[1:]])
