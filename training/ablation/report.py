"""A table of finished runs, for JSON and in Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.ablation.networks import NETWORKS
from training.ablation.tables import TABLES
from training.markdown import markdown_table


def build_table(number: int, out: Path) -> dict[str, Any]:
    """A table for JSON: means over seeds of the finished rows, beside the paper's values."""
    table, rows = TABLES[number], []
    measured: dict[str, Any] = {}
    for row in table.rows:
        found = {
            int(path.parent.name.rpartition("_seed")[2]): json.loads(path.read_text())
            for path in out.glob(f"runs/{row.network}_seed*/result.json")
        }
        if not found:
            continue
        results = dict(sorted(found.items()))
        measured = next(iter(results.values()))
        line: dict[str, Any] = {
            "row": row.name,
            "blocks": NETWORKS[row.network].variant.get("blocks"),
            "seeds": list(results),
            "parameters": measured["parameters"],
        }
        for name in ("psnr", "ssim"):
            values = [result[name] for result in results.values()]
            line[name] = statistics.fmean(values)
            line[f"{name}_deviation"] = statistics.stdev(values) if len(values) > 1 else None
        line["seconds_per_iteration"] = measured["seconds_per_iteration"]
        line["paper"] = {
            data: {"psnr": psnr, "ssim": ssim}
            for data, psnr, ssim in zip(table.sets, row.psnr, row.ssim, strict=False)
        }
        rows.append(line)
    return {
        "table": number,
        "where": table.where or f"Table {number}",
        "title": table.title,
        "notes": list(table.notes),
        "images": measured["images"],
        "input": {name: measured[f"input_{name}"] for name in ("psnr", "ssim")},
        "rows": rows,
    }


def to_markdown(table: Mapping[str, Any]) -> str:
    """The table in Markdown, with its settings and command."""
    settings = table["settings"]
    sets = list(dict.fromkeys(data for row in table["rows"] for data in row["paper"]))

    def measured(row: Mapping[str, Any], name: str, digits: int) -> str:
        deviation = row[f"{name}_deviation"]
        spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
        return f"{row[name]:.{digits}f}{spread}"

    def papers(row: Mapping[str, Any], data: str) -> str:
        if data not in row["paper"]:
            return "-"
        return f"{row['paper'][data]['psnr']:.2f} / {row['paper'][data]['ssim']:.4f}"

    seeds = max(len(row["seeds"]) for row in table["rows"])
    spread = ", ± its standard deviation over the seeds" if seeds > 1 else ""
    heads = ["network", "parameters", "PSNR", "SSIM", *(f"paper, {data}" for data in sets)]
    lines = [
        f"# {table['where']}: {table['title']}",
        "",
        f"Luminance PSNR (dB) and SSIM{spread}, full frame, on {table['images']} photographs "
        f"under the rain `{settings['rain']}`. C = {settings['channels']}, "
        f"K = {settings['blocks']}; {settings['iterations']:,} iterations on "
        f"{settings['batch_size']} patches of {settings['patch']} x {settings['patch']} px, "
        f"{seeds} seed{'s' if seeds > 1 else ''}. Trained and scored without the gate.",
        "",
        "The paper's networks are larger and trained longer, on other rain: only the order of the "
        "rows and their differences are comparable.",
        "",
        "```",
        table["command"],
        "```",
        "",
    ]
    given = [f"{table['input']['psnr']:.2f}", f"{table['input']['ssim']:.4f}"]
    rows = [["rainy input", "", *given, *[""] * len(sets)]]
    for row in table["rows"]:
        ours = [f"{row['parameters']:,}", measured(row, "psnr", 2), measured(row, "ssim", 4)]
        rows.append([row["row"], *ours, *(papers(row, data) for data in sets)])
    lines.append(markdown_table(heads, rows))
    if table["notes"]:
        lines += ["", *(f"- {note}" for note in table["notes"])]
    return "\n".join(lines) + "\n"
