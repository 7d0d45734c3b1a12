"""What the commands `jorder` and `python -m evaluation` share: consoles, errors, options."""

from __future__ import annotations

import os
import sys
import traceback
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import Deveil, Dry

# results go to stdout, progress and errors to stderr
stdout = Console()
stderr = Console(stderr=True)


DEVEIL: dict[str, Deveil] = {"off": False, "on": True, "auto": "auto"}
"""The choices of `--deveil`, as the functions take them."""

DeveilOption = Annotated[
    Literal["off", "on", "auto"],
    typer.Option(
        help="Remove the veil of dense rain as well: on, or auto, from images that show one."
    ),
]

DryOption = Annotated[
    Dry,
    typer.Option(
        help="Leave images without rain as they are, or derain them all the same; "
        "for networks that can tell."
    ),
]

BACKEND = typer.Option(help="What runs the network; the last two on the CPU, if installed.")
PRECISION = typer.Option(
    help="Of the network; bfloat16 not with onnxruntime, int8 only with the last two backends."
)

_debug: ContextVar[bool] = ContextVar("debug", default=False)


def _remember(value: bool) -> bool:
    _debug.set(value)
    return value


_DebugOption = Annotated[
    bool, typer.Option("--debug", callback=_remember, help="Show the traceback of every error.")
]


class CommandGroup(TyperGroup):
    """Commands that print a `UserError` in one line and exit with status 2.

    After Ctrl-C they print `interrupted` and exit with status 130. Other exceptions keep their
    traceback. Every command takes --debug, with which a `UserError` keeps it as well.
    """

    interrupted = "no file is half written; the same command again goes on behind what was written"

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None and all(option.name != "debug" for option in command.params):
            command.params.append(_debug_option())
        return command

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # names of files may hold bytes that are not text, which must not end a run
            if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except UserError as error:
            if _debug.get():
                raise
            print_line("error:", str(error))
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            print_line("interrupted:", self.interrupted)
            raise typer.Exit(130) from error


def command_group(
    help: str, completion: bool = False, cls: type[CommandGroup] = CommandGroup
) -> typer.Typer:
    """An application whose commands are run as `CommandGroup` says; without one it prints help.

    Args:
        help: what it is for.
        completion: add the options that install completion by the shell.
        cls: the class of the group.
    """
    return typer.Typer(
        cls=cls,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        help=help,
    )


def check_output(folder: Path) -> None:
    """UserError unless a folder, which need not exist, can be created and written to."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "no permission" if there.is_dir() else "not a folder"
        raise UserError(f"cannot write to {folder} ({there}: {reason}); choose another folder")


def print_failure(name: object, error: Exception) -> None:
    """Print why one image of many failed, with the traceback if the reason is unusual."""
    print_line("failed:", f"{name}: {str(error) or type(error).__name__}")
    common = isinstance(error, UserError | OSError | MemoryError | torch.OutOfMemoryError)
    if _debug.get() or not common:
        text = "".join(traceback.format_exception(error))
        stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def print_line(head: str, message: str) -> None:
    """Print a message on stderr, its first words in red."""
    stderr.print(f"[red]{head}[/red] {escape(message)}", soft_wrap=True, highlight=False)


def _debug_option() -> Any:
    """The option as Typer builds it, for commands that have no such argument."""
    template = typer.Typer(add_completion=False)

    @template.command()
    def command(debug: _DebugOption = False) -> None:
        pass

    (option,) = typer.main.get_command(template).params
    option.expose_value = False
    return option
