"""What the commands of training share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps

from jorder_preproc.errors import UserError

_INTERRUPTED = "no file is half written; give the same command again to go on"


def command(main: Callable[[list[str]], None]) -> Callable[..., int]:
    """A function of the arguments, by default the process's, that returns the exit code.

    It prints a `UserError` in one line; the exit code is 2 then, 130 after Ctrl-C, else 0.
    """

    @wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        try:
            main(sys.argv[1:] if arguments is None else arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            print(f"interrupted: {str(error) or _INTERRUPTED}", file=sys.stderr)
            return 130
        return 0

    return run
