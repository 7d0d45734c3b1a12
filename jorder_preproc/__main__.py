"""`python -m jorder_preproc`, the same as the command `jorder`."""

from jorder_preproc.cli import app

app(prog_name="jorder")
