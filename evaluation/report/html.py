"""Write the report: `results.json`, `table.md`, `table.csv`, and one page, `report.html`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evaluation.metrics.statistics import CONDITIONS
from evaluation.report import tables
from evaluation.report.grid import MISSING
from evaluation.report.pages import page_environment
from evaluation.report.paper_numbers import NOTE
from evaluation.report.schema import ClassRow, Results, to_json
from jorder_preproc.atomic import atomic_path, write_text
from jorder_preproc.compare import WEB, jpeg_uri
from jorder_preproc.errors import UserError
from jorder_preproc.image_files import FORMATS

IMAGE_WIDTH_PX = 640
"""Largest width of the page's images."""

CLASSES_SHOWN = 30
"""Classes in the page's table; the others are folded."""


def write_report(results: Sequence[Results], out: Path) -> None:
    """Write the four files of the report into a folder, atomically.

    The page needs no other file and no network; it embeds its images. It is written last,
    so that the numbers are safe if an image is missing.

    Args:
        results: one or several tables, in the order of the page.
        out: the folder, created if missing; it holds the samples' images.

    Raises:
        ValueError: no results, or an image that cannot be read.
    """
    document = to_json(results)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "results.json", document)
    write_text(out / "table.md", tables.markdown(results))
    write_text(out / "table.csv", tables.comma_separated(results))
    write_text(out / "report.html", render_page(results, out))


def render_page(results: Sequence[Results], folder: Path) -> str:
    """The text of `report.html`; the samples' images are read from `folder`."""
    environment = page_environment(Path(__file__).parent)
    for name in ("percent", "points", "percent_interval", "points_interval", "recovery_interval"):
        environment.filters[name] = _typeset(getattr(tables, name))
    return environment.get_template("report.html.j2").render(
        style=(WEB / "compare.css").read_text(encoding="utf-8"),
        script=(WEB / "compare.js").read_text(encoding="utf-8"),
        results=results,
        conditions=CONDITIONS,
        tables=tables,
        titles=tables.TITLES,
        note=NOTE,
        shown=CLASSES_SHOWN,
        rows_by_loss=rows_by_loss,
        axis=recovery_axis,
        mark=mark,
        provenance=provenance,
        image_uri=lambda path: _data_uri(sample_file(folder, path)),
        isnan=math.isnan,
    )


def sample_file(folder: Path, path: str) -> Path:
    """The file of a sample's image.

    Raises:
        UserError: it lies outside of the folder of the results, by its path or by a link:
            results from elsewhere must not put files of this machine on the page.
    """
    file = folder / path
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"the results in {folder} name the image {path}, which lies outside of that "
            "folder, and it was not read; evaluate again to write the samples beside them"
        )
    return file


def gather_samples(results: Sequence[Results], folder: Path, out: Path) -> list[Results]:
    """Copy the samples' images of a folder of results into another, for a combined report.

    Args:
        results: of `folder`.
        folder: holds their images.
        out: folder to write to; images go to `samples/` with a digest in their names.

    Returns:
        The results, with the images in `out`.
    """

    def copy(path: str) -> str:
        source = sample_file(folder, path)
        try:
            content = source.read_bytes()
        except OSError as error:
            raise UserError(_no_sample(source, error)) from error
        name = f"samples/{hashlib.sha256(content).hexdigest()[:16]}{source.suffix}"
        (out / "samples").mkdir(parents=True, exist_ok=True)
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
        return name

    return [
        replace(
            result,
            samples=tuple(
                replace(s, images={key: copy(path) for key, path in s.images.items()})
                for s in result.samples
            ),
        )
        for result in results
    ]


def rows_by_loss(rows: Sequence[ClassRow]) -> list[ClassRow]:
    """The classes by their loss to rain, largest first; those without a value last."""
    return sorted(rows, key=lambda row: np.nan_to_num(row.rainy - row.clean, nan=math.inf))


def recovery_axis(results: Results) -> tuple[float, float]:
    """Ends of an axis for all recoveries and their intervals: 0 to 1 or wider."""
    values = [0.0, 1.0]
    for name, metric in results.metrics.items():
        paper = tables.paper_of(results, name)
        values += [metric.recovery, *metric.interval, paper.recovery if paper else math.nan]
    return float(np.nanmin(values)), float(np.nanmax(values))


def mark(task: str, prediction: str, target: str) -> str:
    """`right`, `wrong`, or nothing where the texts do not tell.

    A class that is not the target is wrong; of the other tasks the texts are summaries, which
    may differ for predictions that are right.
    """
    if prediction == target:
        return "right"
    return "wrong" if task == "classification" else ""


def provenance(results: Results) -> Iterator[tuple[str, str]]:
    """Names and values of the provenance, which reproduce the table."""
    yield "Command", results.command
    data, model, rain, derainer = results.dataset, results.model, results.rain, results.derainer
    yield "Data", f"{data.name}, {data.images:,} images" + ("" if data.whole else ", not the whole")
    yield "Data folder", data.root
    if data.unreadable:
        yield "Images that could not be read", ", ".join(data.unreadable)
    yield "Model", model.name
    yield "Model checkpoint", model.checkpoint or "the library's own"
    yield "Model sha256", model.sha256 or "not recorded"
    yield "Rain preset", rain.preset
    yield "Rain seed", str(rain.seed)
    yield "Derainer", tables.describe_derainer(results)
    yield "Derainer weights", derainer.weights or "shipped with the package"
    yield "Derainer sha256", results.derainer_sha256
    if results.deveil_sha256 is not None:
        yield "Deveil weights", derainer.deveil_weights or "shipped with the package"
        yield "Deveil sha256", results.deveil_sha256
    yield "Where it derains", derainer.where
    for condition, speed in results.images_per_second.items():
        yield f"Images per second, {tables.TITLES[condition].lower()}", f"{speed:.4g}"
    for number, origin in enumerate(results.origins, 1):
        head = f"Environment {number}, " if len(results.origins) > 1 else ""
        yield f"{head}predictions".capitalize(), f"{origin.predictions:,}"
        yield f"{head}made".capitalize(), " to ".join(dict.fromkeys([origin.first, origin.last]))
        for part, facts in (("versions", origin.versions), ("machine", origin.machine)):
            for key, value in facts.items():
                values = value if isinstance(value, list | tuple) else [value]
                text = ", ".join("none" if each is None else str(each) for each in values)
                yield f"{head}{part}".capitalize() + f", {key}", text


def _typeset(show: Callable[..., str]) -> Callable[..., str]:
    """With a true minus sign, and a dash where there is no value."""

    def typeset(*arguments: Any) -> str:
        text = show(*arguments)
        return "\u2013" if text == MISSING else text.replace("-", "\u2212")

    return typeset


def _data_uri(path: Path) -> str:
    try:
        with Image.open(path, formats=FORMATS) as file:
            image = file.convert("RGB")
    except Exception as error:  # damaged files fail in any way in their decoders
        raise UserError(_no_sample(path, error)) from error
    image.thumbnail((IMAGE_WIDTH_PX, image.height), Image.Resampling.LANCZOS)
    return jpeg_uri(image, quality=88)


def _no_sample(path: Path, error: Exception) -> str:
    return (
        f"the page needs the sample {path}, which cannot be read ({error}); "
        "run the evaluation again to write it"
    )
