"""Options that commands of `python -m evaluation` share, their device and their output folder."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import mmengine.device.utils
import torch
import typer
from rich.text import Text

from jorder_preproc.commands import check_output, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.rain import PRESETS
from training.distributed import join_processes

Launcher = Literal["none", "pytorch", "slurm", "mpi"]

Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Output folder; default: evaluation_output/NAME.")
]
Preset = Annotated[str, typer.Option(help=f"Kind of rain: {', '.join(PRESETS)}.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the rain; same seed and image name, same rain.")]
DerainerName = Annotated[str, typer.Option(help="Derainer; `jorder models` lists them.")]
DerainerWeights = Annotated[
    Path | None, typer.Option(help="Weights of the derainer (safetensors); default: the shipped.")
]
DeveilWeights = Annotated[
    Path | None,
    typer.Option(help="Weights of the deveil network (safetensors); default: the shipped."),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="At most N images, evenly spread over the data set.")
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N; default: the GPU if there is one.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Another derainer: NAME=module:callable or NAME=FILE.onnx; may be repeated.",
    ),
]


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a Typer command take dataclasses of options: each field becomes an option.

    Typer reads options from the parameters of a function alone; here several commands share
    theirs. Fields are annotated as parameters of a command are.
    """
    own = _parameters(command)
    groups: dict[str, Any] = {
        name: one.annotation for name, one in own.items() if is_dataclass(one.annotation)
    }
    expanded: dict[str, inspect.Parameter] = {}
    for name, parameter in own.items():
        expanded |= _parameters(groups[name]) if name in groups else {name: parameter}

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in _parameters(kind)})
        command(**values)

    run.__annotations__ = {name: one.annotation for name, one in expanded.items()}
    run.__signature__ = inspect.Signature([*expanded.values()])  # type: ignore[attr-defined]
    return run


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters by name, as keywords with evaluated annotations; a dataclass has its fields."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
    }


def start(launcher: Launcher, device: str | None) -> None:
    """Choose the device and join the other processes, before anything touches a GPU."""
    if device is not None:
        kind, _, number = device.partition(":")
        if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not number.isdecimal())):
            raise UserError(f"--device must be cpu, cuda or cuda:N, got {device}")
        if kind == "cuda" and not torch.cuda.is_available():
            raise UserError("--device: there is no CUDA device; leave the option out for the CPU")
        if number and launcher != "none":
            raise UserError(
                f"--device {device} is for one process; with --launcher each takes its own"
            )
        if number and int(number) >= torch.cuda.device_count():
            raise UserError(
                f"--device {device}: there are {torch.cuda.device_count()}, counted from 0"
            )
        if number:
            torch.cuda.set_device(int(number))
        # MMEngine chose its device at import, so that an environment variable would be too late
        mmengine.device.utils.DEVICE = kind
    join_processes(launcher, "evaluation TASK")


def output_folder(out: Path | None, name: str) -> Path:
    """The folder for results; None takes `evaluation_output/NAME`.

    Raises:
        UserError: it cannot be made or written to.
    """
    folder = out or Path("evaluation_output") / name
    check_output(folder)
    return folder


def say(*parts: str | tuple[str, str]) -> None:
    """Print a line on stdout: texts, or pairs of a text and its style.

    Brackets, which paths may have, stay as they are.
    """
    stdout.print(Text.assemble(*parts), soft_wrap=True)


def command_line() -> str:
    """The command as typed, for reports."""
    return shlex.join(["python", "-m", "evaluation", *sys.argv[1:]])
