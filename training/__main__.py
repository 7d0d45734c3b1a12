"""`python -m training CONFIG --photos DIR`: train a network with MMEngine's Runner.

`python -m training score PHOTOS` scores it (`training.score`); `python -m training calibrate
WEIGHTS PHOTOS` sets its threshold on the probability of rain (`training.calibrate`); `python -m
training ranges WEIGHTS PHOTOS` measures what int8 needs (`training.ranges`); `python -m training
average WEIGHTS WEIGHTS --out OUT` writes the mean of weights (`training.average`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.runner import Runner

from jorder_preproc.errors import UserError

# besides the other commands, these register the classes that configs name
from training import (  # noqa: F401
    average,
    calibrate,
    data,
    hooks,
    model,
    optimizer,
    patches,
    precision,
    ranges,
    score,
    veils,
)
from training.bank import STREAKS
from training.checkpoints import find_checkpoint
from training.command_line import command
from training.data import end_workers
from training.distributed import join_processes


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("config", type=Path, help="for example configs/training/jorder_e_lite.py")
    parser.add_argument(
        "--photos", nargs="+", required=True, help="folders of clean photographs", metavar="DIR"
    )
    parser.add_argument(
        "--val-photos",
        help="folder of clean photographs that pick the best checkpoint; "
        "without it there is no validation",
    )
    parser.add_argument(
        "--streaks",
        help="folder of grey PNG files of rain streaks on black, used besides the drawn ones",
    )
    parser.add_argument("--weights", help="safetensors file to start from")
    parser.add_argument("--work-dir", help="default: work_dirs/<name of the config>")
    parser.add_argument("--iterations", type=int, help="instead of the config's")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="key=value overrides")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    return parser.parse_args(arguments)


def build_config(args: argparse.Namespace) -> Config:
    """The config with the options of the command line.

    Raises:
        UserError: a folder or file is missing; there is nothing to resume from, or a run of
            another length; or there is a run that is not to be resumed.
    """
    given = {name: [getattr(args, name)] for name in ("config", "val_photos", "streaks", "weights")}
    for name, paths in {**given, "photos": args.photos}.items():
        for path in paths:
            if path is not None and not Path(path).exists():
                raise UserError(f"--{name.replace('_', '-')}: {path} does not exist")
    config = Config.fromfile(args.config)
    if args.iterations is not None:
        set_iterations(config, args.iterations)
    config.train_dataloader.dataset.photos = args.photos
    if args.streaks is not None:
        if config.train_dataloader.dataset.type != "RainPatches":
            raise UserError(f"--streaks: {args.config} does not train on rain")
        config.train_dataloader.dataset.streaks = args.streaks
    if args.weights is not None:
        config.model.weights = args.weights
    if args.val_photos is not None:
        config.val_dataloader.dataset.photos = args.val_photos
    else:
        config.val_dataloader = config.val_cfg = config.val_evaluator = None
        config.default_hooks.checkpoint.pop("save_best", None)
    config.work_dir = args.work_dir or str(Path("work_dirs") / args.config.stem)
    config.launcher = args.launcher
    if args.launcher != "none" and get_device() == "cpu":
        # by default MMEngine names a GPU
        config.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    dataset = config.train_dataloader.dataset
    if dataset.mixture.get(STREAKS) and not dataset.get("streaks"):
        raise UserError(
            f"the mixture has {dataset.mixture[STREAKS]:g} of {STREAKS}: give --streaks DIR, or do "
            f"without by --cfg-options train_dataloader.dataset.mixture.{STREAKS}=0"
        )
    if dataset.get("streaks") and STREAKS not in dataset.mixture:
        raise UserError(f"--streaks: the mixture of {args.config} has none; leave --streaks out")
    if config.model.type == "DerainTraining":
        config.model.dry = dataset.get("dry", 0.0)
    features = config.model.get("feature_weights")
    if features is not None and not Path(features).is_file():
        raise UserError(f"model.feature_weights: there is no file {features}")
    latest = find_checkpoint(config.work_dir)
    if not args.resume:
        if latest is not None:
            raise UserError(
                f"{config.work_dir} has a run: go on with it by --resume, or choose another "
                "--work-dir"
            )
        return config
    if latest is None:
        raise UserError(f"--resume: no checkpoint in {config.work_dir}")
    written = Path(config.work_dir) / args.config.name  # by MMEngine
    if written.is_file():
        begun_for = Config.fromfile(written).train_cfg.max_iters
        if begun_for != config.train_cfg.max_iters:
            raise UserError(
                f"--resume: the run in {config.work_dir} is of {begun_for} iterations, whose "
                f"schedules are in its checkpoint; give --iterations {begun_for}, or another "
                "--work-dir"
            )
    config.resume = True
    config.load_from = latest
    return config


def set_iterations(config: Config, iterations: int) -> None:
    """Change the length of the run and scale all schedules with it."""
    if iterations < 1:
        raise UserError(f"--iterations must be at least 1, got {iterations}")
    factor = iterations / config.train_cfg.max_iters
    config.train_cfg.max_iters = iterations
    config.train_cfg.val_interval = min(config.train_cfg.val_interval, iterations)
    for part in [*config.param_scheduler, *config.custom_hooks]:
        # MMEngine's warm-up needs two iterations
        for key, least in (("begin", 0), ("end", 2), ("T_max", 1), ("begin_iter", 0)):
            if key in part:
                part[key] = max(round(part[key] * factor), least)
        if part.type == "EMAHook":  # the mean of the weights over the same share of the run
            part.momentum = min(part.momentum / factor, 0.5)
        if "milestones" in part:
            part.milestones = [max(round(m * factor), 1) for m in part.milestones]
    if "feature_from" in config.model:
        config.model.feature_from = round(config.model.feature_from * factor)
    if "stages" in config.train_dataloader.dataset:
        stages = config.train_dataloader.dataset.stages
        config.train_dataloader.dataset.stages = [(round(s * factor), *rest) for s, *rest in stages]


@command
def train(arguments: list[str]) -> None:
    """Train a network."""
    args = parse_args(arguments)
    config = build_config(args)
    join_processes(args.launcher, "training CONFIG --photos DIR")
    runner = Runner.from_cfg(config)
    try:
        runner.train()
    except KeyboardInterrupt as error:
        if find_checkpoint(config.work_dir) is None:
            raise KeyboardInterrupt("before the first checkpoint; begin again") from error
        raise KeyboardInterrupt(
            f"the same command with --resume goes on from the last checkpoint in {config.work_dir}"
        ) from error
    end_workers(runner)


def main(arguments: list[str] | None = None) -> int:
    """Train, or run another of the commands above; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    others = {
        "average": average.main,
        "calibrate": calibrate.main,
        "ranges": ranges.main,
        "score": score.main,
    }
    if arguments and arguments[0] in others:
        return others[arguments[0]](arguments[1:])
    return train(arguments)


if __name__ == "__main__":
    sys.exit(main())
