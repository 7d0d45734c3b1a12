"""Tests a model under one condition with MMEngine's Runner, and stores its predictions.

Images with records on disk are skipped, so that interrupted runs resume; several processes
share the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_gather_object, barrier, get_dist_info, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner, TestLoop
from numpy.typing import NDArray
from rich.console import Console
from torch.utils.data import Dataset

from evaluation.downstream.checkpoints import file_sha256, read_state
from evaluation.downstream.conditions import (
    DERAINED,
    RAINY,
    apply_condition,
    ranges_sha256,
    weights_sha256,
)
from evaluation.downstream.records import RecordStore
from evaluation.metrics.base import Record
from evaluation.provenance import (
    module_sha256,
    package_sha256,
    package_versions,
    prediction_sha256,
    provenance,
)
from evaluation.report.schema import Derainer, Rain
from jorder_preproc.atomic import write_text
from jorder_preproc.errors import MissingFileError, UserError
from jorder_preproc.openmmlab.pipelines import type_names
from jorder_preproc.progress import progress_bar
from jorder_preproc.rain import get_preset

_HOOKS_LEFT_OUT = ("logger", "checkpoint", "timer")
_LOADER_SPEED = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor")


@dataclass(frozen=True)
class Subject:
    """A model and a data set to test it on.

    Attributes:
        cfg: MMEngine config with `model`, `test_dataloader` and `default_scope`.
        checkpoint: file of the model's weights; None where there is none.
        record: makes a record of one data sample, given the names of the classes.
        loads_itself: the model reads the checkpoint when it is built.
        identity: further digests of the model, by name.
    """

    cfg: Config
    checkpoint: str | None
    record: Callable[[Any, Sequence[str]], Record]
    loads_itself: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.checkpoint is not None and not Path(self.checkpoint).is_file():
            raise MissingFileError(f"no checkpoint {self.checkpoint}")


class UnreadableImage(UserError):
    """The loader of a pipeline cannot read an image; the message names it."""


def build_dataset(cfg: Config) -> Any:
    """The data set of the test."""
    init_default_scope(cfg.get("default_scope", "mmengine"))
    dataset = DATASETS.build(cfg.test_dataloader["dataset"])
    dataset.full_init()
    return dataset


def data_digest(dataset: Any) -> str:
    """SHA-256 of the entries of a data set: its images and targets.

    Files count with their path, size and time of change, which is fast.
    """
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        entry = dict(dataset.get_data_info(index))
        for key, value in list(entry.items()):
            if key.endswith("_path") and Path(str(value)).is_file():
                status = Path(value).stat()
                entry[key] = [value, status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(entry, sort_keys=True, default=repr).encode())
    return digest.hexdigest()


def run_condition(
    subject: Subject,
    condition: str,
    rain: Rain,
    derainer: Derainer,
    data: str,
    indices: Sequence[int],
    out: Path,
    console: Console,
) -> RecordStore:
    """Test all images without a record under one condition.

    Args:
        subject: what to test.
        condition: one of `CONDITIONS`.
        rain, derainer: what the conditions insert.
        data: `data_digest` of the data set; records of other entries are not used.
        indices: images to test.
        out: folder for records and logs of all conditions.
        console: for progress.

    Returns:
        The records of all images.

    Raises:
        UnreadableImage: one cannot be loaded.
        ValueError: the checkpoint does not fit, or the config rains or derains by itself.
    """
    cfg = apply_condition(subject.cfg, condition, rain, derainer)
    settings = {"entries": data, **_settings(subject, condition, rain, derainer)}
    text = json.dumps(settings, sort_keys=True, default=repr)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    store = RecordStore(out / "records" / f"{condition}-{digest}", provenance())
    barrier()  # all processes read the records before any adds to them
    todo = sorted(set(indices) - store.done)
    if not todo:
        return store
    if is_main_process():
        write_text(
            store.folder / "settings.json", json.dumps(settings, indent=2, default=repr) + "\n"
        )
    cfg.work_dir = str(out / "logs" / condition)
    runner = _build_runner(cfg)
    rank, processes = get_dist_info()
    mine = todo[rank::processes]
    dataset = _Named(build_dataset(runner.cfg))
    loader = {**runner.cfg.test_dataloader, "dataset": dataset, "sampler": mine}
    # `runner.test()` uses a loop that exists; metrics are computed from the records later
    runner._test_loop = TestLoop(runner, loader, Evaluator([]))
    with progress_bar(console, disable=not is_main_process()) as progress:
        bar = progress.add_task(condition, total=len(todo))

        def show(done: int) -> None:
            progress.update(bar, completed=min(done * processes, len(todo)))

        runner.register_hook(_RecordHook(subject, store, mine, show))
        try:
            runner.test()
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):  # torch's words for its death
                raise
            raise UserError(
                f"a process that loads images died ({error}), usually because memory ran out; give "
                "the same command with fewer --workers, it goes on where this one ended"
            ) from error
        finally:
            store.flush()  # an interrupted run goes on behind its last image
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    barrier()
    store.refresh()
    return store


@dataclass(eq=False)
class _RecordHook(Hook):
    """Loads the weights, and stores records of all outputs; runs behind all other hooks."""

    subject: Subject
    store: RecordStore
    indices: Sequence[int]
    show: Callable[[int], object]  # called with the number of images done
    done: int = 0
    priority = "LOWEST"

    def before_run(self, runner: Runner) -> None:
        checkpoint = self.subject.checkpoint
        if checkpoint is None or self.subject.loads_itself:
            return
        state = read_state(checkpoint)
        # hooks with a copy of the model, such as EMAHook, load it too, and are set up by now
        runner.call_hook("after_load_checkpoint", checkpoint={"state_dict": state})
        try:
            missing = runner.model.load_state_dict(state, strict=False).missing_keys
        except RuntimeError as error:
            raise UserError(f"{checkpoint} does not fit the config: {error}") from error
        if missing:
            raise UserError(
                f"{checkpoint} does not fit the config: {len(missing)} weights are missing in it, "
                f"such as {missing[0]}; give the checkpoint of this config"
            )

    def before_test_epoch(self, runner: Runner) -> None:
        self.store.start()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        classes = runner.test_loop.dataloader.dataset.metainfo["classes"]
        for output in outputs:
            self.store.add(self.indices[self.done], self.subject.record(output, classes))
            self.done += 1
        self.show(self.done)


class _Named(Dataset):
    """A data set whose errors name the image, and tell unreadable images from other errors."""

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.metainfo = dataset.metainfo

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except UserError:
            raise
        except Exception as error:
            load_image(self.dataset, index)  # raises where the image is the reason
            raise RuntimeError(
                f"the test pipeline fails on {image_path(self.dataset, index)}, which its loader "
                f"can read: {type(error).__name__}: {error}"
            ) from error

    def __len__(self) -> int:
        return len(self.dataset)


def find_unreadable(dataset: Any, indices: Sequence[int], console: Console) -> set[int]:
    """Images that the loader of the pipeline cannot read; processes share the work."""
    rank, processes = get_dist_info()
    mine = list(indices)[rank::processes]
    found: set[int] = set()
    with progress_bar(console, disable=not is_main_process()) as progress:
        for index in progress.track(mine, description="reading"):
            try:
                load_image(dataset, index)
            except UnreadableImage:
                found.add(index)
    return set().union(*all_gather_object(found))


def load_image(dataset: Any, index: int, then: Collection[str] = ()) -> NDArray[Any]:
    """Load an image as the pipeline of its data set does.

    Args:
        dataset: built, with or without wrappers.
        index: of the image.
        then: names of transforms to apply as well, where they directly follow the loader.

    Returns:
        BGR (H, W, 3), or what else the loader gives.

    Raises:
        UnreadableImage: the loader fails.
        UserError: the pipeline loads no image.
    """
    results = dataset.get_data_info(index)
    steps = iter(find_source(dataset, index).pipeline.transforms)
    path = results["img_path"]
    try:
        while "img" not in results:
            results = next(steps)(results)
    except StopIteration:
        raise UserError("the test pipeline loads no image: give one with an image loader") from None
    except Exception as error:  # decoders raise any exception on damaged files
        raise UnreadableImage(
            f"{path} cannot be read ({type(error).__name__}: {error}); replace it, or leave such "
            "images out with --skip-unreadable"
        ) from error
    for step in steps:
        if not type_names(step) & set(then):
            break
        results = step(results)
    image: NDArray[Any] = results["img"]
    return image


def image_path(dataset: Any, index: int) -> str:
    """The file of an image of a data set."""
    return str(dataset.get_data_info(index)["img_path"])


def find_source(dataset: Any, index: int) -> Any:
    """The data set within wrappers whose pipeline loads an image."""
    while not hasattr(dataset, "pipeline"):
        if hasattr(dataset, "datasets"):  # one behind the other
            number = bisect_right(dataset.cumulative_sizes, index)
            index -= dataset.cumulative_sizes[number - 1] if number else 0
            dataset = dataset.datasets[number]
        else:
            dataset = dataset.dataset
            index %= len(dataset)  # which may be repeated
    return dataset


def _build_runner(cfg: Config) -> Runner:
    """A silent runner that only tests, with the model unwrapped."""
    loader = cfg.pop("test_dataloader")
    for key in (
        *("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"),
        *("val_dataloader", "val_cfg", "val_evaluator"),
        *("test_cfg", "test_evaluator", "load_from"),
    ):
        cfg[key] = None
    cfg.resume = False
    cfg.launcher = "none"  # the process group exists already
    cfg.log_level = "WARNING"
    hooks = cfg.get("default_hooks") or {}
    cfg.default_hooks = {**hooks, **dict.fromkeys(_HOOKS_LEFT_OUT)}
    cfg.experiment_name = hashlib.sha256(repr(cfg.work_dir).encode()).hexdigest()
    runner = Runner.from_cfg(cfg)
    runner.cfg.test_dataloader = loader
    return runner


def _settings(subject: Subject, condition: str, rain: Rain, derainer: Derainer) -> dict[str, Any]:
    """Everything besides the data set that the records depend on."""
    cfg = subject.cfg.to_dict()
    imports = (cfg.get("custom_imports") or {}).get("imports") or []
    modules = [imports] if isinstance(imports, str) else imports
    settings: dict[str, Any] = {
        "condition": condition,
        "model": cfg["model"],
        "loader": {k: v for k, v in cfg["test_dataloader"].items() if k not in _LOADER_SPEED},
        "hooks": cfg.get("custom_hooks"),
        "default_hooks": {
            name: hook
            for name, hook in (cfg.get("default_hooks") or {}).items()
            if name not in _HOOKS_LEFT_OUT
        },
        "imports": {name: module_sha256(name) for name in modules},
        "checkpoint": None if subject.checkpoint is None else file_sha256(subject.checkpoint),
        "identity": dict(subject.identity),
        "versions": package_versions(),
        "source": {"jorder_preproc": package_sha256(), "evaluation": prediction_sha256()},
    }
    if condition in RAINY:
        # with the preset's parameters, so that records of an older preset are not used
        settings["rain"] = {**asdict(rain), "drawn": asdict(get_preset(rain.preset))}
    if condition in DERAINED:
        # by their digests, the weights may lie anywhere
        chosen = replace(derainer, weights=None, deveil_weights=None, cache=None)
        network, deveil = weights_sha256(derainer)
        settings["derainer"] = {
            **asdict(chosen),
            "sha256": network,
            "deveil_sha256": deveil,
            "ranges_sha256": ranges_sha256(derainer),
        }
    return settings
