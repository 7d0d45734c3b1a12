"""MMEngine hooks: keep the best weights as safetensors; stop on an invalid loss."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from jorder_preproc.atomic import write_text
from jorder_preproc.models import save_weights

WEIGHTS = "best.safetensors"
RECORD = "best.json"
SCORE = "psnr/mean"
"""The metric that is compared."""


@HOOKS.register_module()
class KeepBestWeights(Hook):
    """Write `best.safetensors`, and its record `best.json`, at each new best validation score.

    Without validation the last weights are written. With an EMAHook the averaged weights are
    written in both cases: this hook runs before that one swaps them out again.
    """

    priority = "ABOVE_NORMAL"

    def before_train(self, runner) -> None:  # type: ignore[no-untyped-def]
        self._started = time.monotonic()
        self._seconds_before = runner.message_hub.runtime_info.get("training_seconds", 0.0)

    def before_train_epoch(self, runner) -> None:  # type: ignore[no-untyped-def]
        # a checkpoint is written before the validation of its iteration, which may be missing
        loop = runner.train_loop
        due = runner.iter % loop.val_interval == 0 or runner.iter == loop.max_iters
        if runner.iter and due and runner.val_loop is not None:
            runner.val_loop.run()

    def before_save_checkpoint(self, runner, checkpoint) -> None:  # type: ignore[no-untyped-def]
        runner.message_hub.update_info("training_seconds", self._seconds())

    def after_val_epoch(self, runner, metrics=None) -> None:  # type: ignore[no-untyped-def]
        score = metrics[SCORE]
        best = runner.message_hub.runtime_info.get("best_weights_score", float("-inf"))
        if score > best:
            runner.message_hub.update_info("best_weights_score", score)
            self._write(runner, runner.model, metrics)

    def after_train(self, runner) -> None:  # type: ignore[no-untyped-def]
        if runner.val_loop is None:
            averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
            self._write(runner, averages[0] if averages else runner.model, {})

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _write(self, runner, model, metrics: dict[str, float]) -> None:  # type: ignore[no-untyped-def]
        if not is_main_process():
            return
        if is_model_wrapper(model):
            model = model.module
        folder = Path(runner.work_dir)
        save_weights(model.network, folder / WEIGHTS)
        record = {
            "model": model.network.name,
            "command": shlex.join(["python", "-m", "training", *sys.argv[1:]]),
            "iterations": runner.iter,
            "hours": round(self._seconds() / 3600, 3),
            "validation": {name: round(value, 3) for name, value in metrics.items()},
        }
        write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")


@HOOKS.register_module()
class StopOnInvalidLoss(Hook):
    """End the run at the first loss that is not finite, before it reaches a checkpoint."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        loss = outputs["loss"].item()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in iteration {runner.iter + 1}; begin a new run with a lower "
                "learning rate, from the last good weights by --weights, in another --work-dir"
            )
