"""`python -m evaluation.datasets.synthetic.train TASK`: train a built-in model.

Training, validation in training, and tests use different scenes, all without rain.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmengine.utils import apply_to
from safetensors.torch import save
from torch import Tensor, nn

import evaluation.downstream.tasks.classification  # noqa: F401  (registers classes)
import training.camera  # noqa: F401  (likewise)
from evaluation.datasets.synthetic.dataset import SIZES, write_dataset
from evaluation.downstream.checkpoints import read_state
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from training.precision import has_bfloat16

CONFIGS = Path(__file__).parents[3] / "configs/scenes"
IMAGES = {"classification": 12_000, "segmentation": 4_500, "detection": 7_000}
TUNING = {"classification": 240, "segmentation": 100, "detection": 100}


@METRICS.register_module()
class TopOne(BaseMetric):
    """Top-1 accuracy."""

    def process(self, data_batch: Any, data_samples: list[Any]) -> None:
        self.results += [sample["scores"].argmax() == sample["target"] for sample in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {"top-1": float(torch.tensor(results, dtype=torch.float64).mean())}


def build_config(task: str, work_dir: Path, images: int, epochs: int | None) -> Config:
    """The config of a task; draws its scenes if needed."""
    cfg = Config.fromfile(CONFIGS / f"{task}.py")
    cfg.work_dir = str(work_dir)
    processes = os.cpu_count() or 1
    for stage, split, count, scale in (
        ("train", "training", images, 0.5),
        ("val", "tuning", TUNING[task], 1.0),
    ):
        folder = work_dir / f"scenes_{split}_{count}"
        write_dataset(task, folder, count, split=split, scale=scale, processes=processes)
        dataset = cfg[f"{stage}_dataloader"]["dataset"]
        dataset["data_root"] = str(folder.resolve())
    for key in ("test_dataloader", "test_cfg", "test_evaluator"):
        cfg[key] = None
    if epochs is not None:
        cfg.param_scheduler[1].T_max = cfg.train_cfg.max_epochs = epochs
    steps = cfg.train_cfg.max_epochs * math.ceil(images / cfg.train_dataloader.batch_size)
    for part, key in ((cfg.param_scheduler[0], "end"), (cfg.custom_hooks[0], "begin_iter")):
        part[key] = min(part[key], math.ceil(steps / 5))  # shorter warm-up in short runs
    return cfg


def speed_up(model: Any) -> None:
    """Run a model, but not its losses, in bfloat16 where that is faster, channels last."""
    model.to(memory_format=torch.channels_last)
    for name in ("network", "backbone", "neck", "decode_head", "bbox_head"):
        if getattr(model, name, None) is not None:
            _run_in_bfloat16(getattr(model, name))


def _run_in_bfloat16(part: nn.Module) -> None:
    forward: Callable[..., Any] = part.forward

    def in_bfloat16(inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=part.training and has_bfloat16()):
            outputs = forward(apply_to(inputs, torch.is_tensor, _channels_last))
            return apply_to(outputs, torch.is_tensor, Tensor.float)

    part.forward = in_bfloat16


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def export(checkpoint: Path, out: Path) -> None:
    """Write the weights of a checkpoint in half precision, without the data preprocessor's."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in read_state(checkpoint).items()
        if not name.startswith("data_preprocessor.")
    }
    # classifiers are loaded without MMEngine's wrapper
    state = {name.removeprefix("network."): value.contiguous() for name, value in state.items()}
    with atomic_path(out) as temporary:
        temporary.write_bytes(save(state))


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.datasets.synthetic.train", description=__doc__
    )
    parser.add_argument("task", choices=list(SIZES))
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/scenes_TASK")
    parser.add_argument("--images", type=int, help=f"to learn from; default: {IMAGES}")
    parser.add_argument("--epochs", type=int, help="instead of the config's")
    parser.add_argument("--weights", help="checkpoint of an earlier run to start from")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    args = parser.parse_args(arguments)
    work_dir = args.work_dir or Path("work_dirs") / f"scenes_{args.task}"
    try:
        cfg = build_config(args.task, work_dir, args.images or IMAGES[args.task], args.epochs)
        cfg.resume = args.resume
        cfg.load_from = args.weights
        runner = Runner.from_cfg(cfg)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    speed_up(runner.model)
    runner.train()
    best = max(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    out = work_dir / "best.safetensors"
    export(best, out)
    print(f"{out}: {out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
