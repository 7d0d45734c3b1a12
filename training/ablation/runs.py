"""Train and score the networks of a table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from jorder_preproc.atomic import write_text
from jorder_preproc.errors import UserError
from jorder_preproc.models.variants import Variant
from training import model, patches, precision  # noqa: F401  (they register their classes)
from training.__main__ import set_iterations
from training.ablation import curves  # noqa: F401  (likewise)
from training.ablation.networks import LOSS, NETWORKS
from training.ablation.photos import BUILT_IN, TRAIN, VAL, write_built_in_photos
from training.ablation.report import build_table, to_markdown
from training.ablation.tables import TABLES
from training.checkpoints import find_checkpoint
from training.data import end_workers
from training.score import score

CONFIG = Path(__file__).parents[2] / "configs" / "training" / "jorder_e_lite.py"
OPTIMIZER = dict(type="AdamW", lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.99), fused=True)
_CHECKPOINT_EVERY = 250
_SCORES = 12  # of a curve
_MEANS = ("images", "input_psnr", "input_ssim", "psnr", "ssim")  # of `Score`


@dataclass(frozen=True)
class Settings:
    """Settings shared by all runs in a folder; see the command's help."""

    photos: str
    val_photos: str
    rain: str
    iterations: int
    channels: int
    blocks: int
    patch: int
    batch_size: int


def build_variant(network: str, settings: Settings) -> Variant:
    """The network of a row at the size of `settings`."""
    row = NETWORKS[network]
    blocks = settings.blocks * row.depth
    return replace(Variant(channels=settings.channels, blocks=blocks, stages=1), **row.variant)


def build_config(network: str, seed: int, settings: Settings, run: Path) -> Config:
    """Config of the shipped network with a row's network and loss, without validation.

    As in the paper, training has a single kind of rain and no other degradation. float32. AdamW,
    so that all rows of the tables, earlier ones too, have one optimizer.
    """
    config = Config.fromfile(CONFIG)
    set_iterations(config, settings.iterations)
    if NETWORKS[network].baseline:
        config.model = dict(type="BaselineTraining", name=network)
    else:
        config.model = dict(
            type="DerainTraining",
            name=network,
            variant=asdict(build_variant(network, settings)),
            **{**LOSS, **NETWORKS[network].loss},
        )
    config.train_dataloader.sampler.seed = config.randomness.seed = seed
    # replaced, not merged: the shipped network's mixture would stay
    config.train_dataloader.dataset = dict(
        type="RainPatches",
        photos=settings.photos,
        stages=[(0, settings.patch, settings.batch_size)],
        mixture={settings.rain: 1.0},
        layers_per_preset=config.train_dataloader.dataset.layers_per_preset,
    )
    config.optim_wrapper.type = "OptimWrapper"
    config.optim_wrapper.optimizer = ConfigDict(OPTIMIZER)
    warm_up = settings.iterations // 120
    config.param_scheduler = [
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=max(warm_up, 2)),
        dict(
            type="CosineAnnealingLR",
            by_epoch=False,
            begin=warm_up,
            T_max=settings.iterations - warm_up,
            eta_min=1e-6,
        ),
    ]
    every = max(settings.iterations // _SCORES, 1)
    config.custom_hooks = [
        dict(type="RecordCurve", photos=settings.val_photos, rain=settings.rain, every=every)
    ]
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    checkpoint = config.default_hooks.checkpoint
    checkpoint.pop("save_best")
    checkpoint.update(interval=_CHECKPOINT_EVERY)
    config.work_dir = str(run)
    config.load_from = find_checkpoint(run)
    config.resume = config.load_from is not None
    # MMEngine names loggers by it and a time in seconds, which short runs may share
    config.experiment_name = f"{network}_seed{seed}_{uuid.uuid4().hex[:8]}"
    return config


def train_and_score(network: str, seed: int, settings: Settings, run: Path) -> dict[str, Any]:
    """Train one network in the folder `run`, resuming if possible, and score its last weights.

    Returns:
        For `result.json`: parameters, the number of weights and biases; images and luminance
        means over the validation photographs with the rain that was trained on, see `Score`;
        and the median of seconds_per_iteration of training.
    """
    runner = Runner.from_cfg(build_config(network, seed, settings, run))
    runner.train()
    end_workers(runner)
    trained = runner.model.network.eval().requires_grad_(False)
    (scores,) = score(trained, settings.val_photos, [settings.rain])
    seconds, _ = runner.message_hub.get_scalar("train/time").data
    return {
        "parameters": sum(p.numel() for p in trained.parameters()),
        **{name: getattr(scores, name) for name in _MEANS},
        "seconds_per_iteration": float(np.median(seconds)),
    }


def run_table(
    number: int,
    settings: Settings,
    seeds: int,
    out: Path,
    rows: Sequence[str] | None = None,
    command: str = "",
) -> Path:
    """Train the missing rows of a table and rewrite it after each.

    Args:
        number: of the table.
        settings: shared by all runs in the folder.
        seeds: 0 to one less than that.
        out: folder.
        rows: names; None takes all.
        command: to write into the table.

    Returns:
        The table as Markdown; the same as `.json` is beside it.

    Raises:
        UserError: unknown rows, no photographs, photographs of both kinds in one folder, or
            a folder of other settings.
    """
    names = [row.name for row in TABLES[number].rows]
    unknown = [row for row in rows or () if row not in names]
    if unknown:
        raise UserError(f"table {number} has no row {unknown[0]!r}; choose from {names}")
    if settings.photos != BUILT_IN and settings.photos == settings.val_photos:
        raise UserError(
            f"--photos and --val-photos are both {settings.photos}; score on photographs that "
            "were not trained on"
        )
    _claim(out, settings)
    used = settings  # with folders for the built-in photographs
    if settings.photos == BUILT_IN:
        used = replace(used, photos=write_built_in_photos(out / "photos/train", TRAIN))
    if settings.val_photos == BUILT_IN:
        used = replace(used, val_photos=write_built_in_photos(out / "photos/val", VAL))
    for seed in range(seeds):
        for row in TABLES[number].rows:
            if rows is not None and row.name not in rows:
                continue
            run = out / "runs" / f"{row.network}_seed{seed}"
            record = run / "result.json"
            if not record.exists():
                result = train_and_score(row.network, seed, used, run)
                write_text(record, json.dumps(result, indent=2) + "\n")
            table = build_table(number, out) | {"settings": asdict(settings), "command": command}
            write_text(out / f"table_{number}.json", json.dumps(table, indent=2) + "\n")
            write_text(out / f"table_{number}.md", to_markdown(table))
    return out / f"table_{number}.md"


def _claim(out: Path, settings: Settings) -> None:
    """Check that all runs in a folder have the same settings."""
    path = out / "settings.json"
    if path.exists():
        before = json.loads(path.read_text())
        changed = [
            f"{name} {before.get(name)!r}, not {value!r}"
            for name, value in asdict(settings).items()
            if before.get(name) != value
        ]
        if changed:
            raise UserError(
                f"{out} holds runs with {', '.join(changed)}; give the same, or another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(settings), indent=2) + "\n")
