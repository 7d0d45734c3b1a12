"""PSNR and SSIM over the iterations of training (Figs. 17 to 19)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from jorder_preproc.atomic import atomic_path, write_text
from jorder_preproc.errors import UserError
from training.score import score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE = "curve.json"
_LIMIT = 6  # photographs, the first by name

FIGURES: Mapping[str, Sequence[str]] = {
    "Figs. 17 and 18": ("PAR", "PARD", "RSB", "RSBD"),
    "Fig. 19": ("PAR", "RSB", "SRB", "RAW"),
}
"""Networks that the paper compares: with and without dilation, and by order of prediction."""

Curve = dict[int, tuple[float, float]]
"""PSNR (dB) and SSIM by iteration."""


@HOOKS.register_module()
class RecordCurve(Hook):
    """Score the network during training and keep the scores in `curve.json`.

    A resumed run overwrites what follows its checkpoint.

    Args:
        photos: validation photographs.
        rain: preset to score on.
        every: iterations between two scores; the last iteration is scored as well.
    """

    def __init__(self, photos: str, rain: str, every: int):
        self.photos = photos
        self.rain = rain
        self.every = every

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        iteration = runner.iter + 1
        if iteration % self.every and iteration != runner.max_iters:
            return
        network = runner.model.network.eval()
        (row,) = score(network, self.photos, [self.rain], limit=_LIMIT)
        network.train()
        curve = read_curve(Path(runner.work_dir))
        curve = {done: values for done, values in curve.items() if done < iteration}
        curve[iteration] = (row.psnr, row.ssim)
        write_text(Path(runner.work_dir) / CURVE, json.dumps(curve, indent=1) + "\n")


def read_curve(run: Path) -> Curve:
    """The scores of a run; none if it has not been scored."""
    path = run / CURVE
    if not path.is_file():
        return {}
    return {int(k): (psnr, ssim) for k, (psnr, ssim) in json.loads(path.read_text()).items()}


def mean_curves(out: Path) -> dict[str, Curve]:
    """The curves of the networks of Figs. 17 to 19 in a folder of runs, means over seeds.

    Raises:
        UserError: there is none.
    """
    names = dict.fromkeys(name for networks in FIGURES.values() for name in networks)
    means: dict[str, Curve] = {}
    for name in names:
        curves = [read_curve(run) for run in sorted(out.glob(f"runs/{name}_seed*"))]
        curves = [curve for curve in curves if curve]
        if curves:
            shared = sorted(set.intersection(*(set(curve) for curve in curves)))
            means[name] = {
                k: tuple(np.mean([curve[k] for curve in curves], axis=0).tolist()) for k in shared
            }
    if not means:
        raise UserError(
            f"{out} has no runs of {', '.join(names)}; train them first: "
            f"python -m training.ablation --table 6 --out {out}, and --table 7"
        )
    return means


def write_curves(out: Path) -> Path:
    """Write `curves.json` and `curves.png` from the runs in a folder; returns the latter.

    Raises:
        UserError: no runs, or matplotlib is missing.
    """
    means = mean_curves(out)
    figure = draw_curves(means)
    write_text(out / "curves.json", json.dumps(means, indent=1) + "\n")
    with atomic_path(out / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return out / "curves.png"


def draw_curves(means: Mapping[str, Curve]) -> Figure:
    """One row of axes for each of `FIGURES`: PSNR on the left, SSIM on the right."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            "curves need matplotlib; pip install 'jorder-preproc[evaluation]'"
        ) from error
    figure = Figure(figsize=(8, 6), layout="constrained")
    grid: Any = figure.subplots(len(FIGURES), 2)
    for row, (title, names) in zip(grid, FIGURES.items(), strict=True):
        for column, (axes, metric) in enumerate(zip(row, ("PSNR, dB", "SSIM"), strict=True)):
            for name in names:
                if name in means:
                    values = [scores[column] for scores in means[name].values()]
                    axes.plot(list(means[name]), values, label=name)
            axes.set(title=title, xlabel="iteration", ylabel=metric)
            axes.legend()
    return figure
