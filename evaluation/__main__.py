"""`python -m evaluation`: what a model scores without rain, with rain, and with rain removed."""

from evaluation.cli.downstream import app

if __name__ == "__main__":
    app()
