"""`python -m evaluation`: what a model scores without rain, with rain, and with rain removed."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import torch
import typer
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process

from evaluation.cli import figures as analyses
from evaluation.cli.options import (
    DerainerOption,
    DeviceOption,
    DocsOption,
    Launcher,
    LimitOption,
    OutOption,
    PresetOption,
    SeedOption,
    WeightsOption,
    command_line,
    output_folder,
    start,
)
from evaluation.datasets import checks as doctor
from evaluation.datasets.synthetic.dataset import SIZES, write_dataset
from evaluation.downstream.conditions import Derain, Rain
from evaluation.downstream.protocol import Plan, evaluate
from evaluation.downstream.published_scores import SET_SIZES
from evaluation.downstream.runner import Subject
from evaluation.downstream.tasks import classification
from evaluation.report.docs_sections import check_section, replace_section
from evaluation.report.html import gather_samples, write_report
from evaluation.report.schema import Results, from_json
from evaluation.report.tables import terminal_table
from evaluation.restoration import benchmark as restoration
from evaluation.restoration.methods import (
    do_nothing,
    other_restorer,
    our_restorer,
    shipped_derainers,
)
from evaluation.restoration.pair_sets import BUILT_IN, open_sets
from jorder_preproc import transforms
from jorder_preproc.commands import CommandGroup, Dry, DryOption, check_output, stderr, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.models import load_deveil_model, load_model
from jorder_preproc.models.weights import DEVEIL_WEIGHTS
from jorder_preproc.progress import progress_bar
from jorder_preproc.rain import get_preset

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What a model scores without rain, with rain, and with rain removed.",
)
_ROOT = Path(__file__).parents[2]
_DATA_NAMES = {
    "classification": "ImageNet validation",
    "segmentation": "ADE20K validation",
    "detection": "VOC 2007 test",
}
_BUILT_IN = "the built-in scenes"


class Where(str, Enum):
    """Where pictures are derained."""

    pipeline = "pipeline"
    batch = "batch"


class Deveil(str, Enum):
    """Which pictures the veil of rain accumulation is taken off."""

    off = "off"
    on = "on"
    auto = "auto"


_DEVEIL: dict[Deveil, transforms.Deveil] = {
    Deveil.off: False,
    Deveil.on: True,
    Deveil.auto: "auto",
}


class Half(str, Enum):
    """One of two pictures in one file."""

    left = "left"
    right = "right"


_Severity = Annotated[
    int | None, typer.Option(min=1, max=5, help="In place of a preset: severity_1 to severity_5.")
]
_WhereOption = Annotated[
    Where,
    typer.Option(
        help="Derain in the pipeline, at the pictures' own size, or batches on the device."
    ),
]
_DeveilOption = Annotated[
    Deveil,
    typer.Option(
        help="Take the veil of dense rain off, too: on, or auto, from pictures that show one."
    ),
]
_DeveilWeights = Annotated[
    Path | None, typer.Option(help="Weights for --deveil (safetensors) in place of the shipped.")
]
_Cache = Annotated[
    Path | None, typer.Option(help="Folder that keeps derained pictures for the next run.")
]
_Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes that load and derain; default: one per core.")
]
_LauncherOption = Annotated[
    Launcher, typer.Option(help="For several processes: pytorch (torchrun), slurm or mpi.")
]
_Samples = Annotated[int, typer.Option(min=0, help="Pictures that the report shows.")]
_Skip = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="Count images that cannot be read, and leave them out."),
]
_AnyClean = Annotated[
    bool,
    typer.Option("--any-clean-score", help="Go on where a known model misses its published score."),
]
_Data = Annotated[Path | None, typer.Option(help="Folder of the data set.")]


@dataclass(frozen=True)
class Shared:
    """Options of all three tables."""

    out: Path
    rain: Rain
    derain: Derain
    limit: int | None
    workers: int
    samples: int
    skip_unreadable: bool
    check_clean: bool
    coco: bool = False


@app.command("classification")
def classification_command(
    data: _Data = None,
    model: Annotated[
        str | None,
        typer.Option(help="timm model, or module:function; default: vgg19.tv_in1k."),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the model.")] = None,
    labels: Annotated[Path | None, typer.Option(help="File of labels, for a flat folder.")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="File with all classes in the order of the model's outputs.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    input_size: Annotated[int | None, typer.Option(help="px; default: the model's own.")] = None,
    crop_pct: Annotated[float | None, typer.Option(help="Default: the model's own.")] = None,
    interpolation: Annotated[str | None, typer.Option(help="Default: the model's own.")] = None,
    mean: Annotated[
        tuple[float, float, float] | None, typer.Option(help="RGB, in [0, 1]; default: its own.")
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None, typer.Option(help="RGB, in [0, 1]; default: its own.")
    ] = None,
    preset: PresetOption = "heavy",
    severity: _Severity = None,
    seed: SeedOption = 0,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    deveil: _DeveilOption = Deveil.off,
    deveil_weights: _DeveilWeights = None,
    dry: DryOption = Dry.leave,
    where: _WhereOption = Where.pipeline,
    cache: _Cache = None,
    limit: LimitOption = None,
    workers: _Workers = None,
    device: DeviceOption = None,
    launcher: _LauncherOption = Launcher.none,
    samples: _Samples = 6,
    skip_unreadable: _Skip = False,
    any_clean_score: _AnyClean = False,
    out: OutOption = None,
) -> None:
    """Top-1, top-5 and top-10 of an image classifier (Table 4); ImageNet's validation set.

    Without --data: the built-in scenes and their classifier.
    """
    start(launcher, device)
    shared = _shared("classification", locals())
    own: dict[str, Any] = {"--model": model, "--checkpoint": checkpoint}
    own |= {"--labels": labels, "--classes": classes}
    own |= {"--input-size": input_size, "--crop-pct": crop_pct, "--interpolation": interpolation}
    own |= {"--mean": mean, "--std": std}
    given = [option for option, value in own.items() if value is not None]
    if data is None and given:
        raise UserError(
            f"{', '.join(given)} need --data; the built-in scenes have a model of their own"
        )
    if data is None:
        _finish(_built_in("classification", shared, batch_size), shared.out)
        return
    overrides = {
        "input_size": None if input_size is None else (3, input_size, input_size),
        "crop_pct": crop_pct,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
    }
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
    _finish(_table("classification", subject, shared, name, str(data)), shared.out)


@app.command()
def segmentation(
    config: Annotated[Path | None, typer.Argument(help="Config of mmseg.")] = None,
    checkpoint: Annotated[Path | None, typer.Argument(help="Its weights.")] = None,
    data: _Data = None,
    preset: PresetOption = "heavy",
    severity: _Severity = None,
    seed: SeedOption = 0,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    deveil: _DeveilOption = Deveil.off,
    deveil_weights: _DeveilWeights = None,
    dry: DryOption = Dry.leave,
    where: _WhereOption = Where.pipeline,
    cache: _Cache = None,
    limit: LimitOption = None,
    workers: _Workers = None,
    device: DeviceOption = None,
    launcher: _LauncherOption = Launcher.none,
    samples: _Samples = 6,
    skip_unreadable: _Skip = False,
    any_clean_score: _AnyClean = False,
    out: OutOption = None,
) -> None:
    """Mean IoU and accuracy of a segmenter of mmseg (Table 5); ADE20K for one.

    Without a config: the built-in scenes and their segmenter.
    """
    start(launcher, device)
    _host("segmentation", config, checkpoint, data, _shared("segmentation", locals()))


@app.command()
def detection(
    config: Annotated[Path | None, typer.Argument(help="Config of mmdet.")] = None,
    checkpoint: Annotated[Path | None, typer.Argument(help="Its weights.")] = None,
    data: _Data = None,
    coco: Annotated[bool, typer.Option("--coco", help="COCO-style AP, too.")] = False,
    preset: PresetOption = "heavy",
    severity: _Severity = None,
    seed: SeedOption = 0,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    deveil: _DeveilOption = Deveil.off,
    deveil_weights: _DeveilWeights = None,
    dry: DryOption = Dry.leave,
    where: _WhereOption = Where.pipeline,
    cache: _Cache = None,
    limit: LimitOption = None,
    workers: _Workers = None,
    device: DeviceOption = None,
    launcher: _LauncherOption = Launcher.none,
    samples: _Samples = 6,
    skip_unreadable: _Skip = False,
    any_clean_score: _AnyClean = False,
    out: OutOption = None,
) -> None:
    """VOC 2007's mAP of a detector of mmdet (Table 5).

    Without a config: the built-in scenes and their detector.
    """
    start(launcher, device)
    _host("detection", config, checkpoint, data, _shared("detection", locals()))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that tables were written to.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report of them all.")],
) -> None:
    """Put the tables of several runs into one report."""
    check_output(out)
    results: list[Results] = []
    for folder in folders:
        try:
            text = (folder / "results.json").read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{folder} has no results.json ({error.strerror}); run the table first"
            ) from error
        try:
            found = from_json(text)
        except ValueError as error:
            raise UserError(f"{folder / 'results.json'}: {error}") from error
        results += gather_samples(found, folder, out)
    write_report(results, out)
    stdout.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False)


@app.command("doctor")
def doctor_command(
    task: Annotated[str, typer.Argument(help="classification, segmentation or detection.")],
    data: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    labels: Annotated[Path | None, typer.Option(help="File of labels, for a flat folder.")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="File with all classes in the order of the model's outputs.")
    ] = None,
    outputs: Annotated[int | None, typer.Option(min=1, help="Number of the model's.")] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Open every picture.")] = False,
) -> None:
    """Check a data set before an hour is spent on it."""
    findings = doctor.examine(
        task, data, labels=labels, classes=classes, outputs=outputs, thorough=thorough
    )
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    for finding in findings:
        stdout.print(
            f"[{colours[finding.level]}]{finding.level:>7}[/] {finding.what}: {finding.detail}",
            soft_wrap=True,
            highlight=False,
        )
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@app.command("restoration")
def restoration_command(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SET]...",
            help="Folder of pairs, or NAME=FOLDER; default: "
            f"{', '.join(BUILT_IN)}, which are built in.",
        ),
    ] = None,
    derainer: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, NAME+deveil, or either with =FILE for other weights; may be given again. "
            "Default: all that have weights in the package."
        ),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=module:callable, NAME=FILE.onnx or NAME=FOLDER of results; may be given "
            "again."
        ),
    ] = None,
    deveil_weights: Annotated[
        Path | None, typer.Option(help="Of the deveil network (safetensors), for NAME+deveil.")
    ] = None,
    clean_half: Annotated[
        Half | None, typer.Option(help="Of pictures that hold a rainy and a clean half.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many pairs of each set, evenly spread.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do again what an earlier run left in --out.")
    ] = False,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """PSNR and SSIM of restored pictures (Tables 1 and 2): Rain12, Rain100L, Rain100H, Rain800."""
    start(Launcher.none, device)
    out = output_folder(out, "restoration")
    named = derainer or shipped_derainers()
    if deveil_weights is not None and not any(
        name.partition("=")[0].endswith("+deveil") for name in named
    ):
        raise UserError("--deveil-weights are for NAME+deveil; give such a --derainer, too")
    if docs is not None:
        check_section(docs, "restoration")
    found = open_sets(sets or [], None if clean_half is None else clean_half.value, limit)
    pictures = {each.name: list(each.pairs) for each in found}
    rows = [do_nothing()]
    rows += [our_restorer(name, get_device(), deveil_weights) for name in named]
    rows += [other_restorer(text, pictures) for text in other or []]
    with progress_bar(stderr) as progress:
        bar = progress.add_task("restoring", total=sum(map(len, pictures.values())))
        scores = restoration.score_sets(
            found, rows, out, fresh=fresh, advance=lambda: progress.advance(bar)
        )
    restoration.write_tables(scores, found, rows, out, command_line())
    if docs is not None:
        text = restoration.markdown(scores, found)
        replace_section(docs, "restoration", text, command_line())
    for table in restoration.terminal_tables(scores, found):
        stdout.print(table)
    stdout.print(f"tables: {out / 'restoration.md'}", soft_wrap=True, highlight=False)


def _shared(task: str, options: dict[str, Any]) -> Shared:
    preset, severity = options["preset"], options["severity"]
    if severity is not None:
        if preset != "heavy":
            raise UserError("give --preset or --severity, not both")
        preset = f"severity_{severity}"
    if options["deveil_weights"] is not None and options["deveil"] is Deveil.off:
        raise UserError("--deveil-weights are for --deveil on or auto; give one of these, too")
    deveil = _DEVEIL[options["deveil"]]
    workers = options["workers"]
    get_preset(preset)
    # before pictures are blamed
    load_model(options["derainer"], options["weights"])
    if deveil:
        load_deveil_model(options["deveil_weights"] or DEVEIL_WEIGHTS)
    return Shared(
        out=output_folder(options["out"], task),
        rain=Rain(preset, options["seed"]),
        derain=Derain(
            options["derainer"],
            _text(options["weights"]),
            options["where"].value,
            _text(options["cache"]),
            deveil,
            _text(options["deveil_weights"]),
            options["dry"].value,
        ),
        limit=options["limit"],
        workers=(os.cpu_count() or 1) if workers is None else workers,
        samples=options["samples"],
        skip_unreadable=options["skip_unreadable"],
        check_clean=not options["any_clean_score"],
        coco=options.get("coco", False),
    )


def _host(
    task: str, config: Path | None, checkpoint: Path | None, data: Path | None, shared: Shared
) -> None:
    if config is None:
        if data is not None:
            raise UserError(
                "--data needs a config and a checkpoint; the built-in scenes have their own"
            )
        _finish(_built_in(task, shared), shared.out)
        return
    if checkpoint is None:
        raise UserError("a config needs a checkpoint: python -m evaluation TASK CONFIG CHECKPOINT")
    module = _find_module(task)
    subject = module.make_subject(str(config), str(checkpoint), _text(data))
    root = subject.cfg.test_dataloader["dataset"].get("data_root", "")
    _finish(_table(task, subject, shared, config.stem, str(data or root)), shared.out)


def _built_in(task: str, shared: Shared, batch_size: int = 1) -> Results | None:
    """The table of the built-in scenes."""
    root = shared.out / "scenes"
    if is_main_process():
        with progress_bar(stderr, disable=root.exists()) as progress:
            bar = progress.add_task("drawing scenes", total=SIZES[task])
            processes = os.cpu_count() or 1
            write_dataset(task, root, processes=processes, advance=lambda: progress.advance(bar))
    barrier()
    checkpoint = str(_ROOT / f"evaluation/datasets/synthetic/weights/scenes_{task}.safetensors")
    if task == "classification":
        model, outputs = "test_resnet", 12
        subject = classification.make_subject(
            str(root), model, checkpoint, outputs=outputs, batch_size=batch_size
        )
    else:
        config = _ROOT / f"configs/scenes/{task}.py"
        model = f"scenes/{task}"
        subject = _find_module(task).make_subject(str(config), checkpoint, str(root))
    return _table(task, subject, shared, model, str(root), built_in=True)


def _table(
    task: str, subject: Subject, shared: Shared, model: str, root: str, built_in: bool = False
) -> Results | None:
    subject.cfg.test_dataloader["num_workers"] = shared.workers
    if shared.workers:  # threads that wait for the workers would take their cores
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    data = _BUILT_IN if built_in else _DATA_NAMES[task]
    plan = Plan(
        task=task,
        title=f"{model} on {data}",
        model=model,
        data=data,
        root=root,
        whole=None if built_in else SET_SIZES[task],
        command=command_line(),
        out=shared.out,
        rain=shared.rain,
        derain=shared.derain,
        limit=shared.limit,
        skip_unreadable=shared.skip_unreadable,
        check_clean=shared.check_clean,
        samples=shared.samples,
        coco=shared.coco,
    )
    return evaluate(subject, plan, _find_module(task), stderr)


def _find_module(task: str) -> ModuleType:
    if task == "classification":
        return classification
    host = "mmseg" if task == "segmentation" else "mmdet"
    # what the hosts deprecate is not for the user of a config to mend
    warnings.filterwarnings("ignore", module=r"mmengine|mmcv|mmdet|mmseg")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # they print what is optional
            importlib.import_module(f"{host}.datasets")
        return importlib.import_module(f"evaluation.downstream.tasks.{task}")
    except ImportError as error:
        raise UserError(
            f"{task} needs {host} ({error}): docs/openmmlab.md says how to install it, or run "
            "`make test` once"
        ) from error


def _finish(results: Results | None, out: Path) -> None:
    """Write the report and print the table, in the first process."""
    if results is None:
        return
    write_report([results], out)
    stdout.print(terminal_table([results]))
    stdout.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


app.registered_commands += analyses.app.registered_commands
