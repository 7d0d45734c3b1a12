"""The tables of the report as Markdown, as CSV, and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from evaluation.metrics.statistics import CONDITIONS, Interval, recovery
from evaluation.report.grid import MISSING, Cell, csv_lines
from evaluation.report.paper_numbers import NOTE
from evaluation.report.schema import Metric, PairedTest, PaperRow, Results
from training.markdown import markdown_table

TITLES = {
    "clean": "Clean",
    "rainy": "Rain",
    "derained": "Rain removed",
    "clean_derained": "Clean, through the derainer",
}
"""Conditions in tables."""

CEILING = " (ceiling)"
"""Behind an interval that is 100 % from end to end."""

MUCH_LOST = 0.02
"""Loss of a class to rain from which on its recovery is remarked upon."""

LITTLE = 0.85
"""Recovery of a class below which it is remarked upon."""

_UNBOUNDED = "unbounded"
_MOST_NAMED = 8


def percent(value: float, digits: int = 2) -> str:
    """0.724 as `72.40`."""
    return MISSING if math.isnan(value) else f"{100 * value:.{digits}f}"


def points(value: float, digits: int = 2) -> str:
    """A change of 0.012 as `+1.20`, in points of percent."""
    if math.isnan(value):
        return MISSING
    text = f"{100 * value:+.{digits}f}"
    return text if float(text) else text.replace("-", "+")  # no negative zero


def percent_interval(interval: Interval, digits: int = 2) -> str:
    """(0.71, 0.73) as `71.00 to 73.00`, with `CEILING` if need be; empty where not defined."""
    text = _between(interval, percent, digits)
    full = percent(1.0, digits)
    return text + CEILING if text == f"{full} to {full}" else text


def recovery_interval(metric: Metric) -> str:
    """The interval of a recovery; empty where the recovery has none or is not defined itself."""
    if math.isnan(metric.recovery) or not metric.intervals:
        return ""
    return percent_interval(metric.interval, 1) or _UNBOUNDED


def points_interval(interval: Interval) -> str:
    """(-0.001, 0.002) as `-0.10 to +0.20`; empty where it is not defined."""
    return _between(interval, points, 2)


def paper_of(results: Results, metric: str) -> PaperRow | None:
    """The paper's row for a metric of these results."""
    return next((row for row in results.paper if row.metric == metric), None)


def describe_derainer(results: Results) -> str:
    """The derainer in words, such as `jorder_e_lite + deveil (auto)`.

    It ends in `, dry too` where images without rain are derained, too.
    """
    derainer = results.derainer
    name = derainer.name
    if (derainer.backend, derainer.precision) != ("torch", "float32"):
        name += f" ({derainer.backend}, {derainer.precision})"
    also = {False: "", True: " + deveil", "auto": " + deveil (auto)"}[derainer.deveil]
    return name + also + (", dry too" if derainer.dry == "derain" else "")


def describe_rain(results: Results) -> str:
    """Rain, derainer and data set in one line."""
    unreadable = results.dataset.unreadable
    return (
        f"Rain: {results.rain.preset}, seed {results.rain.seed}. Derainer: "
        f"{describe_derainer(results)}, in the {results.derainer.where}. "
        f"{results.dataset.images:,} images of {results.dataset.name}"
        + ("" if results.dataset.whole else ", not the whole set")
        + (f"; {len(unreadable)} more could not be read." if unreadable else ".")
    )


def remarks(results: Results) -> list[str]:
    """Caveats of these tables: ceilings, unbounded intervals, classes, mixed machines."""
    intervals = [recovery_interval(metric) for metric in results.metrics.values()]
    found = []
    if any(text.endswith(CEILING) for text in intervals):
        found.append(
            "Ceiling: recovery was complete in every resample. These images cannot tell how near "
            "to 100 % it is."
        )
    if _UNBOUNDED in intervals:
        found.append(
            "Unbounded: in more than 2.5 % of the resamples rain cost nothing, so that recovery, a "
            "share of that loss, has no bounds."
        )
    if results.task != "classification":  # whose classes have few images each
        found += _describe_classes(results)
    if len(results.origins) > 1:
        found.append(_describe_origins(results))
    return found


def _describe_classes(results: Results) -> list[str]:
    """The classes that recover least, where rain took much, as a sentence; or none."""
    found = [
        (float(recovery(row.clean, row.rainy, row.derained)), row.name)
        for row in results.classes.rows
        if row.clean - row.rainy >= MUCH_LOST
    ]
    least = [f"{name} ({percent(share, 0)} %)" for share, name in sorted(found) if share < LITTLE]
    if not least:
        return []
    return [
        f"Of {len(found)} classes that rain takes {points(MUCH_LOST, 0)[1:]} points or more from, "
        f"{len(least)} recover less than {percent(LITTLE, 0)} %: {', '.join(least[:_MOST_NAMED])}"
        + (", ..." if len(least) > _MOST_NAMED else "")
        + "."
    ]


def _describe_origins(results: Results) -> str:
    """The differences between the machines that made the predictions."""
    rows = [
        {**{f"version of {k}": v for k, v in one.versions.items()}, **one.machine}
        for one in results.origins
    ]
    values = {
        name: dict.fromkeys(str(each.get(name, "none")) for each in rows)
        for row in rows
        for name in row
    }
    differences = "; ".join(f"{k}: {', '.join(v)}" for k, v in values.items() if len(v) > 1)
    return f"Predictions of {len(rows)} environments are mixed here, which differ in {differences}."


def describe_test(test: PairedTest) -> str:
    """McNemar's test in a sentence."""
    p_value = "p < 0.000001" if test.p_value < 1e-6 else f"p = {test.p_value:.2g}"
    return (
        f"{test.only_derained:,} images are right only with the rain removed, "
        f"{test.only_rainy:,} only with the rain (McNemar's exact test, {p_value})."
    )


def markdown(results: Sequence[Results]) -> str:
    """A section for each result: its table in the paper's form, beside the paper's.

    Of several results the first section is an overview with a row for each.
    """
    sections = [_markdown_section(result) for result in results]
    if len(results) > 1:
        sections.insert(0, _overview(results))
    return "\n\n".join(sections) + "\n"


def comma_separated(results: Sequence[Results]) -> str:
    """One row per metric of ours and of the paper's, fractions in full precision, for programs.

    Cells are empty where there is no value.
    """
    ends = [f"{name}_{end}" for name in CONDITIONS for end in ("low", "high")]
    lines: list[list[Cell]] = [
        [
            *("task", "title", "rain", "derainer", "source", "metric", *CONDITIONS),
            *("recovery", "recovery_low", "recovery_high"),
            *("harm", "harm_low", "harm_high", *ends),
        ]
    ]
    for result in results:
        head = [result.task, result.title, result.rain.preset, describe_derainer(result)]
        for name, metric in result.metrics.items():
            values = [getattr(metric, condition) for condition in CONDITIONS]
            values += [metric.recovery, *metric.interval, metric.harm, *metric.harm_interval]
            for condition in CONDITIONS:
                values += metric.intervals.get(condition, (math.nan, math.nan))
            lines.append([*head, "measured", name, *map(_cell, values)])
        for row in result.paper:
            values = [row.clean, row.rainy, row.derained, math.nan, row.recovery]
            cells = [*map(_cell, values), *[""] * (5 + len(ends))]
            # the paper's rain and derainer are others
            lines.append([result.task, row.row, "", "", "paper", row.metric, *cells])
    return csv_lines(lines)


def terminal_table(results: Sequence[Results]) -> Table:
    """A table for the terminal: a row per metric, in percent, the paper's recovery last."""
    one = len(results) == 1
    # fits a terminal of 80 columns
    table = Table(
        title=Text(results[0].title) if one else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("%", no_wrap=True)
    for title in ("Clean", "Rain", "Rain\nremoved", "Recovery", "Harm", "Paper's\nrecovery"):
        table.add_column(title, justify="right", no_wrap=True)
    for result in results:
        if not one:
            table.add_section()
            derainer = describe_derainer(result).replace(" + ", "\n+ ")
            table.add_row(Text(f"{result.task}\n{result.rain.preset}\n{derainer}", "bold"))
        for name, metric in result.metrics.items():
            paper = paper_of(result, name)
            values = [percent(getattr(metric, condition)) for condition in CONDITIONS[:3]]
            table.add_row(
                Text(name),
                *values,
                *(
                    Text(text.replace(CEILING, f"\n{CEILING.strip()}"))
                    for text in _with_intervals(metric, "{}\n{}")
                ),
                percent(paper.recovery, 1) if paper else MISSING,
            )
    tests = [describe_test(r.mcnemar) for r in results if r.mcnemar is not None]
    table.caption = Text("\n".join(tests)) if tests else None
    return table


def _overview(results: Sequence[Results]) -> str:
    columns = ["model", "%", "rain", "derainer", *(TITLES[name] for name in CONDITIONS)]
    rows = [
        [
            *(result.title, name, result.rain.preset, describe_derainer(result)),
            *(percent(getattr(metric, condition)) for condition in CONDITIONS),
            *_with_intervals(metric, "{} ({})"),
        ]
        for result in results
        for name, metric in result.metrics.items()
    ]
    table = markdown_table([*columns, "Recovery", "Harm, points"], rows, left=4)
    return f"## Overview\n\nIntervals: 95 %.\n\n{table}"


def _markdown_section(result: Results) -> str:
    paper = [row for row in result.paper if row.metric in result.metrics]
    below = ["Recovery", "95 % interval", "Harm, points", "95 % interval"]
    columns = [["%", *(TITLES[condition] for condition in CONDITIONS), *below]]
    columns += [
        [
            *(name, *(percent(getattr(metric, condition)) for condition in CONDITIONS)),
            *(percent(metric.recovery, 1), recovery_interval(metric) or MISSING),
            *(points(metric.harm), points_interval(metric.harm_interval) or MISSING),
        ]
        for name, metric in result.metrics.items()
    ]
    columns += [
        [
            *(f"{row.metric}, paper", *(percent(getattr(row, name)) for name in CONDITIONS[:3])),
            *(MISSING, percent(row.recovery, 1), MISSING, MISSING, MISSING),
        ]
        for row in paper
    ]
    header, *body = zip(*columns, strict=True)
    lines = [f"## {result.title}", "", describe_rain(result), "", markdown_table(header, body)]
    if result.mcnemar is not None:
        lines += ["", describe_test(result.mcnemar)]
    for remark in remarks(result):
        lines += ["", remark]
    if paper:
        lines += ["", f"Paper: {', '.join(dict.fromkeys(p.row for p in paper))}; {NOTE}."]
    return "\n".join([*lines, "", "```", result.command, "```"])


def _between(interval: Interval, show: Callable[[float, int], str], digits: int) -> str:
    low, high = interval
    if math.isnan(low) and math.isnan(high):
        return ""
    return f"{show(low, digits)} to {show(high, digits)}"


def _with_intervals(metric: Metric, form: str) -> list[str]:
    """Recovery and harm, each with its interval where there is one."""
    pairs = (
        (percent(metric.recovery, 1), recovery_interval(metric)),
        (points(metric.harm), points_interval(metric.harm_interval)),
    )
    return [form.format(*pair) if pair[1] else pair[0] for pair in pairs]


def _cell(value: float) -> Cell:
    return None if math.isnan(value) else value
