"""From files, folders and globs to a list of files to read and write."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jorder_preproc.errors import UserError
from jorder_preproc.image_files import SUFFIXES, is_image, list_images
from jorder_preproc.rain.identity import image_name

ENDINGS = {"mask": "_mask.png", "streaks": "_streaks.png", "parameters": "_rain.json"}
"""Endings of further files per image, by kind, in place of the image's suffix."""


@dataclass(frozen=True)
class Job:
    """One image to read, and the files to write.

    Attributes:
        name: path of the image below the folder given, with `/`.
        source, target: files to read and to write.
        extras: further files to write, by kind.
    """

    name: str
    source: Path
    target: Path
    extras: Mapping[str, Path]

    @property
    def outputs(self) -> list[Path]:
        return [self.target, *self.extras.values()]

    @property
    def done(self) -> bool:
        return all(path.is_file() for path in self.outputs)


def plan_jobs(inputs: Iterable[str], out: Path, extras: Mapping[str, str]) -> list[Job]:
    """The jobs for some inputs, in order, each path once.

    A file is written to `out` under its name; images of a folder keep their sub-folders, and
    those of a glob the sub-folders below its first wildcard. Hidden files in folders and globs
    are skipped, and so are files in `out` where that is below them.

    Args:
        inputs: files, folders and globs (`**` for any sub-folders).
        out: folder for the results; need not exist.
        extras: further files per image, by kind: some of `ENDINGS`.

    Raises:
        ValueError: an input that names no image, two files with one output, or an output
            that is one of the inputs.
    """
    by_path: dict[str, Job] = {}
    for given in inputs:
        for source, base in _expand(given, out):
            target = out / source.relative_to(base)
            job = Job(
                image_name(source, base),
                source,
                target,
                {what: target.with_name(target.stem + ending) for what, ending in extras.items()},
            )
            by_path.setdefault(os.path.abspath(source), job)
    # links give a file several names, each with a result of its own
    jobs = {(job.source.resolve(), job.target): job for job in by_path.values()}
    sources = {source for source, _ in jobs}
    writers: dict[Path, Job] = {}
    for job in jobs.values():
        for output in job.outputs:
            resolved = output.resolve()
            if resolved in sources:
                raise UserError(
                    f"{output}, to be made from {job.source}, is itself an input; "
                    "choose another output folder"
                )
            if resolved in writers:
                raise UserError(
                    f"{writers[resolved].source} and {job.source} would both be written to "
                    f"{output}; put them into different output folders"
                )
            writers[resolved] = job
    return list(jobs.values())


def _expand(given: str, out: Path) -> list[tuple[Path, Path]]:
    """Images of one input, each with the folder that its name is relative to."""
    path = Path(given)
    if path.is_file():
        return [(path, path.parent)]
    if path.is_dir():
        base, where = path, f"in the folder {given}"
        images = list_images(path, recursive=True)
    elif glob.has_magic(given):
        base = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        where = f"match {given}"
        matches = (Path(match) for match in sorted(glob.glob(given, recursive=True)))
        images = [match for match in matches if is_image(match)]
    else:
        raise UserError(f"no file or folder {given}; check the path")
    results = out.resolve()
    if base.resolve() in results.parents:
        images = [image for image in images if results not in image.resolve().parents]
    if not images:
        raise UserError(f"no images {where}; looked for {', '.join(sorted(SUFFIXES))}")
    return [(image, base) for image in images]
