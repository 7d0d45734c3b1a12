"""Entry for tools that need one, and a source distribution that is the same each time.

Everything else is in pyproject.toml.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import time

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """The same bytes for the same files and `SOURCE_DATE_EPOCH`, as wheels have."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        """Write `base_dir` to BASE_NAME.tar.gz; other formats as setuptools does."""
        if format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def strip(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.mtime, entry.mode = seconds, 0o755 if entry.isdir() else 0o644
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            return entry

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=seconds) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=strip)  # in the order of names
        return path


setup(cmdclass={"sdist": ReproducibleSdist})
