"""Scores over the number of blocks K, Figs. 21 and 22, and over the stages, Sec. 5.1."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from evaluation.datasets.photos import Loader
from evaluation.figures.drawing import new_figure
from evaluation.report.grid import Cell, Grid
from evaluation.restoration.methods import INPUT
from evaluation.restoration.scores import DIGITS, Scores, add_rain_to_all, mean_scores, score
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.models import Jorder

_TABLE = "table_21.json"


def keep_stages(network: Jorder, stages: int) -> Jorder:
    """A copy of the network that stops after its first stages.

    Raises:
        ValueError: more than it has, or none.
    """
    if not 1 <= stages <= len(network.stages):
        raise UserError(f"{network.name} has {len(network.stages)} stages, got {stages}")
    shorter = copy.deepcopy(network)
    shorter.stages = shorter.stages[:stages]
    return shorter


def study_stages(
    network: Jorder, photographs: Mapping[str, Loader], preset: str = "heavy", seed: int = 1
) -> Grid:
    """PSNR and SSIM after each stage of one network."""
    cut = [keep_stages(network, stages + 1) for stages in range(len(network.stages))]
    scores: list[list[Scores]] = [[] for _ in range(len(cut) + 1)]
    for each in add_rain_to_all(photographs, preset, seed):
        images = [each.rainy, *(derain(one, each.rainy).background for one in cut)]
        for own, image in zip(scores, images, strict=True):
            own.append(score(each.name, image, each.clean))
    rows: list[list[Cell]] = [
        [str(stages) if stages else INPUT, *mean_scores(own)] for stages, own in enumerate(scores)
    ]
    note = (
        f"{network.name} on {len(photographs)} photographs with rain `{preset}`, on luminance; "
        "PSNR in dB."
    )
    return Grid(["stages", "PSNR", "SSIM"], rows, DIGITS, note)


def read_blocks(runs: Path) -> Grid:
    """PSNR and SSIM by K, from a folder of `python -m training.ablation --table 21`.

    Raises:
        ValueError: no such folder, or it holds something else.
    """
    path = runs / _TABLE
    advice = f"make it: python -m training.ablation --table 21 --out {runs}"
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        settings = table["settings"]
        rows: list[list[Cell]] = [[INPUT, table["input"]["psnr"], table["input"]["ssim"]]]
        for row in table["rows"]:
            rows.append([str(int(row["blocks"])), row["psnr"], row["ssim"]])
        note = (
            f"Trained and scored alike but for K: C = {settings['channels']}, "
            f"{settings['iterations']} iterations, {table['images']} photographs with rain "
            f"`{settings['rain']}`, on luminance; PSNR in dB."
        )
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); {advice}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is no table of recurrences ({error!r}); {advice}") from error
    return Grid(["K", "PSNR", "SSIM"], rows, DIGITS, note)


def draw_recurrence(grids: Mapping[str, Grid]) -> Figure:
    """PSNR, and SSIM beside it, over the recurrences; without the rainy input.

    Args:
        grids: what `study_stages` and `read_blocks` give, by the label of their axis.
    """
    figure = new_figure(7.0, 2.9 * len(grids))
    for number, (label, grid) in enumerate(grids.items()):
        rows = [row for row in grid.rows if row[0] != INPUT]
        for column, metric in enumerate(("PSNR", "SSIM"), 1):
            axes = figure.add_subplot(len(grids), 2, 2 * number + column)
            recurrences = [int(row[0] or 0) for row in rows]
            axes.plot(recurrences, [row[column] for row in rows], "o-")  # type: ignore[arg-type]
            title = f"{metric}, dB" if metric == "PSNR" else metric
            axes.set(xticks=recurrences, xlabel=label, ylabel=title)
    return figure
