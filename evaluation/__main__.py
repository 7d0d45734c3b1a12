"""`python -m evaluation`: scores of a model on clean, rainy and derained images."""

from evaluation.cli import downstream, figures, restoration, speed, user_study
from jorder_preproc.commands import command_group

app = command_group("Scores of a model on clean, rainy and derained images.")
for commands in (downstream.app, restoration.app, speed.app, figures.app, user_study.app):
    app.add_typer(commands)

if __name__ == "__main__":
    app()
