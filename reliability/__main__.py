"""`python -m reliability`: checks too long for the tests; see docs/reliability.md."""

from jorder_preproc.commands import CommandGroup, command_group
from reliability import distributed, faults, fuzz, soak


class _Checks(CommandGroup):
    interrupted = "the same command begins again"


app = command_group("Checks too long for the tests; see docs/reliability.md.", cls=_Checks)
for commands in (fuzz.app, soak.app, faults.app, distributed.app):
    app.add_typer(commands)

if __name__ == "__main__":
    app()
