"""Commands that test a vision model on clean, rainy and derained images."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
import typer
from mmengine.dist import barrier, is_distributed, is_main_process

from evaluation.cli import options as cli
from evaluation.datasets.checks import examine
from evaluation.datasets.synthetic.dataset import SIZES, write_dataset
from evaluation.downstream.conditions import check_derainer
from evaluation.downstream.host_config import read_config
from evaluation.downstream.protocol import Plan, evaluate
from evaluation.downstream.runner import Subject
from evaluation.downstream.tasks import classification
from evaluation.report.html import gather_samples, write_report
from evaluation.report.schema import Derainer, Rain, Task, read_results
from evaluation.report.tables import terminal_table
from jorder_preproc.backends import Backend, Precision, check_backend
from jorder_preproc.commands import (
    BACKEND,
    DEVEIL,
    PRECISION,
    DeveilOption,
    DryOption,
    check_output,
    stderr,
    stdout,
)
from jorder_preproc.errors import UserError
from jorder_preproc.progress import progress_bar
from jorder_preproc.rain import PRESETS, get_preset

app = typer.Typer()
_ROOT = Path(__file__).parents[2]

_Data = Annotated[Path | None, typer.Option(help="Folder of the data set.")]
_Labels = Annotated[Path | None, typer.Option(help="Label file, for a flat folder.")]
_Classes = Annotated[
    Path | None, typer.Option(help="File of all classes, in the order of the model's outputs.")
]


@dataclass(frozen=True)
class TableOptions:
    """Options of classification, segmentation and detection."""

    preset: Annotated[
        list[str] | None,
        typer.Option(help=f"Kind of rain: {', '.join(PRESETS)}; may be repeated. Default: heavy."),
    ] = None
    severity: Annotated[
        int | None, typer.Option(min=1, max=5, help="In place of --preset: severity_1 to _5.")
    ] = None
    seed: cli.Seed = 0
    derainer: cli.DerainerName = "jorder_e_lite"
    derainer_weights: cli.DerainerWeights = None
    deveil: DeveilOption = "off"
    deveil_weights: cli.DeveilWeights = None
    dry: DryOption = "leave"
    backend: Annotated[Backend, BACKEND] = "torch"
    precision: Annotated[Precision, PRECISION] = "float32"
    where: Annotated[
        Literal["pipeline", "batch"],
        typer.Option(help="Derain in the pipeline, at the images' own size, or on the device."),
    ] = "pipeline"
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps derained images for later runs.")
    ] = None
    limit: cli.Limit = None
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that load and derain; default: one per core."),
    ] = None
    device: cli.Device = None
    launcher: Annotated[
        cli.Launcher, typer.Option(help="For several processes: pytorch is torchrun.")
    ] = "none"
    samples: Annotated[int, typer.Option(min=0, help="Images that the report shows.")] = 6
    skip_unreadable: Annotated[
        bool,
        typer.Option("--skip-unreadable", help="Leave out and count images that cannot be read."),
    ] = False
    skip_reference_check: Annotated[
        bool,
        typer.Option(
            "--skip-reference-check", help="Go on where a known model misses its published score."
        ),
    ] = False
    out: cli.Out = None

    def begin(self, task: str) -> None:
        """Choose the device, and report wrong options before any work begins."""
        cli.start(self.launcher, self.device)
        if self.severity is not None and self.preset:
            raise UserError("give --preset or --severity, not both")
        for rain in self.make_rains():
            get_preset(rain.preset)
        check_backend(self.backend, self.precision)
        check_derainer(self.make_derainer())
        cli.output_folder(self.out, task)

    def make_rains(self) -> list[Rain]:
        """The rain of the rainy conditions, of each table."""
        presets = self.preset or ["heavy"]
        if self.severity is not None:
            presets = [f"severity_{self.severity}"]
        return [Rain(preset, self.seed) for preset in dict.fromkeys(presets)]

    def make_derainer(self) -> Derainer:
        """The derainer of the derained conditions."""
        return Derainer(
            self.derainer,
            _text(self.derainer_weights),
            self.where,
            _text(self.cache),
            DEVEIL[self.deveil],
            _text(self.deveil_weights),
            self.dry,
            self.backend,
            self.precision,
        )


@app.command("classification")
@cli.expand_options
def classification_command(
    data: _Data = None,
    model: Annotated[
        str | None, typer.Option(help="timm model, or module:function; default: vgg19.tv_in1k.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the model.")] = None,
    labels: _Labels = None,
    classes: _Classes = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    input_size: Annotated[int | None, typer.Option(help="px; default: the model's own.")] = None,
    crop_pct: Annotated[
        float | None, typer.Option(help="In (0, 1]; default: the model's own.")
    ] = None,
    interpolation: Annotated[str | None, typer.Option(help="Default: the model's own.")] = None,
    mean: Annotated[
        tuple[float, float, float] | None, typer.Option(help="RGB, in [0, 1]; default: its own.")
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None, typer.Option(help="RGB, in [0, 1]; default: its own.")
    ] = None,
    *,
    options: TableOptions,
) -> None:
    """Top-1, top-5 and top-10 accuracy of an image classifier (Table 4) on ImageNet validation.

    Without --data: the built-in scenes and their classifier.
    """
    options.begin("classification")
    overrides: dict[str, Any] = {
        "input_size": None if input_size is None else (3, input_size, input_size),
        "crop_pct": crop_pct,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
    }
    if data is None:
        own = {"model": model, "checkpoint": checkpoint, "labels": labels, "classes": classes}
        given = [name for name, value in {**own, **overrides}.items() if value is not None]
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UserError(f"{names} need --data; the built-in scenes have a model of their own")
        _run_built_in("classification", options, batch_size)
        return
    name = model or "vgg19.tv_in1k"
    subject = classification.make_subject(
        str(data),
        name,
        _text(checkpoint),
        labels=_text(labels),
        classes=_text(classes),
        overrides={key: value for key, value in overrides.items() if value is not None},
        batch_size=batch_size,
    )
    _run("classification", options, subject, name, str(data))


@app.command()
@cli.expand_options
def segmentation(
    config: Annotated[Path | None, typer.Argument(help="Config of mmseg.")] = None,
    checkpoint: Annotated[Path | None, typer.Argument(help="Its weights.")] = None,
    data: _Data = None,
    *,
    options: TableOptions,
) -> None:
    """Mean IoU and pixel accuracy of an mmseg segmenter (Table 5), on ADE20K for example.

    Without a config: the built-in scenes and their segmenter.
    """
    _run_config("segmentation", options, config, checkpoint, data)


@app.command()
@cli.expand_options
def detection(
    config: Annotated[Path | None, typer.Argument(help="Config of mmdet.")] = None,
    checkpoint: Annotated[Path | None, typer.Argument(help="Its weights.")] = None,
    data: _Data = None,
    coco: Annotated[bool, typer.Option("--coco", help="COCO-style AP, too.")] = False,
    *,
    options: TableOptions,
) -> None:
    """VOC 2007 mAP of an mmdet detector (Table 5).

    Without a config: the built-in scenes and their detector.
    """
    _run_config("detection", options, config, checkpoint, data, coco)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Output folders of earlier runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the combined report.")],
) -> None:
    """Combine the tables of several runs into one report."""
    check_output(out)
    results = []
    for folder in folders:
        results += gather_samples(read_results(folder), folder, out)
    write_report(results, out)
    cli.say(f"report: {out / 'report.html'}")


@app.command()
def doctor(
    task: Annotated[str, typer.Argument(help="classification, segmentation or detection.")],
    data: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    labels: _Labels = None,
    classes: _Classes = None,
    outputs: Annotated[
        int | None, typer.Option(min=1, help="Number of the model's outputs.")
    ] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Open every image.")] = False,
) -> None:
    """Check a data set before a long evaluation."""
    findings = examine(
        task, data, labels=labels, classes=classes, outputs=outputs, thorough=thorough
    )
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    for finding in findings:
        level = (f"{finding.level:>7}", colours[finding.level])
        cli.say(level, f" {finding.what}: {finding.detail}")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _run_config(
    task: Task,
    options: TableOptions,
    config: Path | None,
    checkpoint: Path | None,
    data: Path | None,
    coco: bool = False,
) -> None:
    options.begin(task)
    if config is None:
        if data is not None:
            raise UserError(
                "--data needs a config and a checkpoint; the built-in scenes have their own"
            )
        _run_built_in(task, options, coco=coco)
        return
    if checkpoint is None:
        raise UserError("a config needs a checkpoint: python -m evaluation TASK CONFIG CHECKPOINT")
    cfg = read_config(str(config), _text(data))
    subject = _find_module(task).make_subject(cfg, str(checkpoint))
    root = _data_root(subject.cfg.test_dataloader["dataset"])
    _run(task, options, subject, config.stem, str(data or root), coco=coco)


def _data_root(dataset: Mapping[str, Any]) -> str:
    """Of a data set, or of the first one within a wrapper; empty if it has none."""
    inner = dataset.get("datasets") or [dataset.get("dataset")]
    return str(dataset.get("data_root") or (_data_root(inner[0]) if inner[0] else ""))


def _run_built_in(
    task: Task, options: TableOptions, batch_size: int = 1, coco: bool = False
) -> None:
    """Evaluate the built-in model of a task on the built-in scenes."""
    root = cli.output_folder(options.out, task) / "scenes"
    if is_main_process():
        with progress_bar(stderr, disable=root.exists()) as progress:
            bar = progress.add_task("drawing scenes", total=SIZES[task])
            processes = os.cpu_count() or 1
            write_dataset(task, root, processes=processes, advance=lambda: progress.advance(bar))
    barrier()
    checkpoint = str(_ROOT / f"evaluation/datasets/synthetic/weights/scenes_{task}.safetensors")
    if task == "classification":
        model = "test_resnet"
        subject = classification.make_subject(
            str(root), model, checkpoint, outputs=12, batch_size=batch_size
        )
    else:
        model = f"scenes/{task}"
        cfg = read_config(str(_ROOT / f"configs/scenes/{task}.py"), str(root))
        subject = _find_module(task).make_subject(cfg, checkpoint)
    _run(task, options, subject, model, str(root), built_in=True, coco=coco)


def _run(
    task: Task,
    options: TableOptions,
    subject: Subject,
    model: str,
    root: str,
    *,
    built_in: bool = False,
    coco: bool = False,
) -> None:
    """Evaluate with each rain; the first process writes the report and prints the tables."""
    cores = _own_cores()
    workers = cores if options.workers is None else options.workers
    subject.cfg.test_dataloader["num_workers"] = workers
    if workers and "OMP_NUM_THREADS" not in os.environ:  # leave cores to the workers
        torch.set_num_threads(max(1, cores // 2))
    out = cli.output_folder(options.out, task)
    rains = options.make_rains()
    plan = Plan(
        task=task,
        model=model,
        data="the built-in scenes" if built_in else None,
        root=root,
        command=cli.command_line(),
        out=out,
        rain=rains[0],
        derainer=options.make_derainer(),
        limit=options.limit,
        skip_unreadable=options.skip_unreadable,
        check_reference=not options.skip_reference_check,
        samples=options.samples,
        coco=coco,
    )
    found = [
        evaluate(subject, replace(plan, rain=rain), _find_module(task), stderr) for rain in rains
    ]
    results = [one for one in found if one is not None]
    if results:
        write_report(results, out)
        stdout.print(terminal_table(results))
        cli.say(f"report: {out / 'report.html'}")
    if is_distributed():
        barrier()  # torchrun ends all processes where one ends with its connections open
        torch.distributed.destroy_process_group()


def _own_cores() -> int:
    """Cores for this process, of those that torchrun's processes on this machine share."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux's
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _find_module(task: str) -> ModuleType:
    if task == "classification":
        return classification
    host = "mmseg" if task == "segmentation" else "mmdet"
    # users cannot act on the hosts' deprecation warnings
    warnings.filterwarnings("ignore", module=r"mmengine|mmcv|mmdet|mmseg")
    try:
        # they print which optional parts are missing
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(f"{host}.datasets")
        return importlib.import_module(f"evaluation.downstream.tasks.{task}")
    except ImportError as error:
        raise UserError(
            f"{task} needs {host} ({error}): docs/openmmlab.md says how to install it, or run "
            "`make test` once"
        ) from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
