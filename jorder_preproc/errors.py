"""Errors that a user can mend, told apart from those that only a programmer can."""

from __future__ import annotations


class UserError(ValueError):
    """A wrong option, file or data set; the message says what to do.

    The command lines print it as one line. Every other exception is taken for a defect and
    keeps its traceback.
    """

    def __str__(self) -> str:
        # a DataLoader raises its worker's errors again with the traceback, as text, in front
        return super().__str__().rpartition(f"{type(self).__name__}: ")[2].strip()


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that a user named is not there."""
