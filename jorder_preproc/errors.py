"""Errors that users can fix themselves, apart from defects of the program."""

from __future__ import annotations


class UserError(ValueError):
    """A wrong option, file or data set; the message says what to do.

    The commands print it in one line. Every other exception counts as a defect and keeps its
    traceback.
    """

    def __str__(self) -> str:
        # a DataLoader puts the worker's traceback, as text, in front of the message
        return super().__str__().rpartition(f"{type(self).__name__}: ")[2].strip()


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder given by the user does not exist."""


class DiskFullError(UserError, OSError):
    """There is no space left for a file; what was written before is whole."""
