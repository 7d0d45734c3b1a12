"""What the commands of `python -m evaluation` share: options, device, results folder."""

from __future__ import annotations

import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import mmengine.device.utils
import torch
import typer
from mmengine.device import get_device
from mmengine.dist import init_dist

from jorder_preproc.commands import check_output
from jorder_preproc.errors import UserError
from jorder_preproc.rain import PRESETS


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
            raise UserError(f"--device must be cpu, cuda or cuda:N, got {device}")
        if kind == "cuda" and not torch.cuda.is_available():
            raise UserError("--device: no CUDA device is there; leave the option out for the CPU")
        if number and launcher is not Launcher.none:
            raise UserError(
                f"--device {device} is for one process; with --launcher each takes its own"
            )
        if number and int(number) >= torch.cuda.device_count():
            raise UserError(
                f"--device {device}: there are {torch.cuda.device_count()}, counted from 0"
            )
        if number:
            torch.cuda.set_device(int(number))
        # MMEngine made its choice as it was imported, and CUDA read its environment then
        mmengine.device.utils.DEVICE = kind
    if launcher is not Launcher.none:
        if launcher is Launcher.pytorch and "RANK" not in os.environ:
            raise UserError(
                "--launcher pytorch is for torchrun: "
                "torchrun --nproc-per-node N -m evaluation TASK --launcher pytorch"
            )
        if get_device() == "cuda":
            init_dist(launcher.value, backend="nccl")
        elif launcher is Launcher.pytorch:  # MMEngine's own way wants a GPU
            torch.distributed.init_process_group("gloo")
        else:
            raise UserError(
                f"--launcher {launcher.value} needs GPUs; on CPUs use torchrun and pytorch"
            )


def output_folder(out: Path | None, name: str) -> Path:
    """The folder for results; None takes `evaluation_output/NAME`.

    Raises:
        UserError: it cannot be made or written to.
    """
    folder = out or Path("evaluation_output") / name
    check_output(folder)
    return folder


def command_line() -> str:
    """The command as it was typed, for what it writes."""
    return shlex.join(["python", "-m", "evaluation", *sys.argv[1:]])
