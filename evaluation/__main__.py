"""`python -m evaluation`: scores of a model on clean, rainy and derained images."""

import typer

from evaluation.cli import downstream, figures, restoration, user_study
from jorder_preproc.commands import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Scores of a model on clean, rainy and derained images.",
)
for commands in (downstream.app, restoration.app, figures.app, user_study.app):
    app.add_typer(commands)

if __name__ == "__main__":
    app()
