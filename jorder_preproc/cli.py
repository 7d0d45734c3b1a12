"""The command `jorder`: derain image files, put rain on them, list, convert, export weights."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Column, Table

from jorder_preproc import __version__, functional
from jorder_preproc.atomic import atomic_path, write_text
from jorder_preproc.backends import Backend, Precision, use_backend
from jorder_preproc.batch import ENDINGS, Job, plan_jobs
from jorder_preproc.commands import (
    BACKEND,
    DEVEIL,
    PRECISION,
    DeveilOption,
    DryOption,
    check_output,
    command_group,
    print_failure,
    stderr,
    stdout,
)
from jorder_preproc.compare import find_pairs, write_comparison
from jorder_preproc.errors import DiskFullError, UserError
from jorder_preproc.export import Format, check_export, export_network
from jorder_preproc.image_files import (
    SUFFIXES,
    ImageFileError,
    list_images,
    read_image,
    read_rgb,
    write_image,
    write_png,
)
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.int8 import Ranges, load_ranges, measure_ranges, weights_sha256
from jorder_preproc.models import (
    Jorder,
    get_variant,
    list_deveil_models,
    list_models,
    load_deveil_model,
    load_model,
)
from jorder_preproc.models.shipped import SHIPPED, SHIPPED_WEIGHTS
from jorder_preproc.models.variants import get_deveil_variant
from jorder_preproc.models.weights import convert_release
from jorder_preproc.progress import progress_bar
from jorder_preproc.rain import PRESETS, get_preset, synthesize_rain
from jorder_preproc.video import derain_video, is_video

MAX_RAIN_PIXELS = 40_000_000
"""Largest image for `jorder rain`, which holds the whole image as floats."""

app = command_group("Derain images and videos, or put rain on images.", completion=True)

_SaveMask = Annotated[
    bool, typer.Option("--save-mask", help="Also write NAME_mask.png: white where rain is.")
]
_SaveStreaks = Annotated[
    bool, typer.Option("--save-streaks", help="Also write NAME_streaks.png: the rain alone.")
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Redo images whose results exist.")]
_Model = Annotated[str, typer.Option(help="Derainer; `jorder models` lists them.")]
_Weights = Annotated[
    Path | None, typer.Option(help="Weights file (safetensors) in place of the shipped one.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        _print(f"jorder-preproc {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    # the help is that of `app`
    pass


@app.command()
def derain(
    inputs: Annotated[
        list[str], typer.Argument(help="Images, folders of images, quoted globs; or one video.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; of a video also a file.")
    ],
    save_mask: _SaveMask = False,
    save_streaks: _SaveStreaks = False,
    model: _Model = "jorder_e_lite",
    weights: _Weights = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: the GPU if there is one.")
    ] = None,
    deveil: DeveilOption = "off",
    deveil_weights: Annotated[
        Path | None, typer.Option(help="Weights file for --deveil in place of the shipped one.")
    ] = None,
    dry: DryOption = "leave",
    backend: Annotated[Backend, BACKEND] = "torch",
    precision: Annotated[Precision, PRECISION] = "float32",
    tile: Annotated[
        int,
        typer.Option(
            help="Side of the windows that are run, px: larger ones are faster, need more memory."
        ),
    ] = 1280,
    overwrite: _Overwrite = False,
) -> None:
    """Derain images, or a video.

    Names, sub-folders, format, EXIF, colour profile, opacity and 16 bits are kept; EXIF
    orientations are applied. Images whose results exist are skipped. If the network can tell
    whether it rains, the probability is printed for each image, and which were left alone: their
    files are copied.

    A video keeps its frame rate, sound and rotation; whether it rains is decided once for the
    whole clip. The same command again continues an interrupted one.
    """
    video = any(is_video(given) for given in inputs)
    if video:
        _check_video(inputs, save_mask or save_streaks, deveil)
    if deveil == "off" and deveil_weights is not None:
        raise UserError("--deveil-weights are for --deveil on or auto; give one of them as well")
    if backend in ("onnxruntime", "openvino"):
        device = device or "cpu"
    network = use_backend(_load_network(model, weights, device), backend, precision)
    # a tile that is too small fails here, on one pixel, instead of on every image
    functional.derain(network, torch.zeros(3, 1, 1), tile=tile)
    there = next(network.parameters()).device
    deveil_network = None if deveil == "off" else load_deveil_model(deveil_weights, there)
    options: dict[str, Any] = {"tile": tile, "deveil_model": deveil_network, "dry": dry}
    if video:
        settings = {
            "weights": weights_sha256(network),
            "deveil": None if deveil_network is None else weights_sha256(deveil_network),
            "backend": backend,
            "precision": precision,
        }
        options |= {"network": network, "settings": settings}
        _run_video(Path(inputs[0]), out, overwrite, **options)
        return

    def work(job: Job) -> None:
        image = read_image(job.source)
        pixels = _to_tensor(image.pixels)
        derained = functional.derain(
            network,
            pixels,
            deveil=DEVEIL[deveil],
            with_streak_map=save_streaks,
            with_region_mask=save_mask,
            **options,
        )
        unchanged = torch.equal(derained.background, pixels)
        image = replace(image, pixels=_to_array(derained.background))
        if derained.region_mask is not None:
            write_png(job.extras["mask"], (derained.region_mask[0].numpy() > 0) * np.uint8(255))
        if derained.streak_map is not None:
            write_png(job.extras["streaks"], _to_array(derained.streak_map))
        probability = derained.rain_probability
        del derained, pixels  # writing takes a copy of its own
        if unchanged and not image.turned:
            with atomic_path(job.target) as temporary:
                shutil.copyfile(job.source, temporary)
        else:
            write_image(job.target, image)
        if probability is not None:
            left = ", left alone" if unchanged else ""
            _print(f"{job.source}: {probability:.2f} rain{left}")

    _run("Deraining", inputs, out, work, overwrite, mask=save_mask, streaks=save_streaks)


@app.command()
def rain(
    inputs: Annotated[
        list[str], typer.Argument(help="Images, folders of images, or quoted globs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    preset: Annotated[str, typer.Option(help=f"Kind of rain: {', '.join(PRESETS)}.")] = "heavy",
    seed: Annotated[int, typer.Option(min=0, help="Same seed and name, same rain.")] = 0,
    save_mask: _SaveMask = False,
    save_streaks: _SaveStreaks = False,
    save_parameters: Annotated[
        bool,
        typer.Option("--save-parameters", help="Also write NAME_rain.json: the parameters drawn."),
    ] = False,
    overwrite: _Overwrite = False,
) -> None:
    """Put rain on images, and write its labels.

    The rain depends on the seed and on the image's path below the folder given, or below the
    folder where the wildcards of a glob begin: it is that of `SynthesizeRain` with this folder
    as data root. JPEG loses detail: use PNG where the labels must fit exactly.
    """
    get_preset(preset)

    def work(job: Job) -> None:
        image = read_image(job.source)
        height, width, _ = image.pixels.shape
        if height * width > MAX_RAIN_PIXELS:
            raise ImageFileError(
                f"{width} x {height} pixels are more than the {MAX_RAIN_PIXELS // 10**6} "
                "megapixels that rain can be drawn on; make the image smaller"
            )
        pixels = _to_tensor(image.pixels)
        sample = synthesize_rain(pixels_to_float(pixels), preset, seed, job.name)

        def encode(values: torch.Tensor) -> NDArray[Any]:
            return _to_array(float_to_pixels(values.clamp(0, 1), pixels.dtype))

        if save_mask:
            write_png(job.extras["mask"], (sample.region_mask[0] * 255).to(torch.uint8).numpy())
        if save_streaks:
            write_png(job.extras["streaks"], encode(sample.streak_map))
        if save_parameters:
            drawn = {"image_id": job.name, "preset": preset, "seed": seed}
            text = json.dumps(drawn | sample.parameters, indent=2) + "\n"
            write_text(job.extras["parameters"], text)
        write_image(job.target, replace(image, pixels=encode(sample.rainy)))

    extras = {"mask": save_mask, "streaks": save_streaks, "parameters": save_parameters}
    _run("Raining", inputs, out, work, overwrite, **extras)


@app.command()
def compare(
    rainy: Annotated[Path, typer.Argument(help="Folder of the images before deraining.")],
    derained: Annotated[Path, typer.Argument(help="Folder of the results.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write, .html.")],
    max_side: Annotated[
        int, typer.Option(min=1, help="Longer images are scaled down on the page, px.")
    ] = 1600,
) -> None:
    """Write a page that shows images before and after deraining.

    One HTML file with a border to drag over each image, zoom, and the rain masks that `jorder
    derain --save-mask` wrote. It works without a network, and holds JPEG copies of the images.
    """
    if out.suffix not in (".html", ".htm"):
        raise UserError(f"the page must end in .html, got {out}; change its name")
    pairs = find_pairs(rainy, derained)
    try:
        with progress_bar(stderr) as progress:
            write_comparison(progress.track(pairs, description="Comparing"), out, max_side)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error}") from error
    _print(f"Wrote {out}: {len(pairs)} images, {out.stat().st_size / 1e6:.1f} MB")


@app.command()
def models() -> None:
    """List the models: parameters, cost, and the shipped weights with their scores."""
    right = partial(Column, justify="right")
    shipped = {name: weights.name for name, weights in SHIPPED.items()}
    table = Table("model", right("stages"), right("parameters"), right("kMAC/pixel"), "weights")
    for name in list_models():
        variant = get_variant(name)
        table.add_row(
            name,
            str(variant.stages),
            f"{variant.parameters:,}",
            f"{variant.macs_per_pixel / 1000:,.1f}",
            shipped.get(name, "-"),
        )
    stdout.print(table)
    table = Table("for --deveil", right("parameters"), right("MMAC/image, at most"), "weights")
    for name in list_deveil_models():
        row = get_deveil_variant(name)
        # the network sees an overview of limited size
        macs = row.macs_per_cell * (row.overview_px // row.cell_px) ** 2
        table.add_row(name, f"{row.parameters:,}", f"{macs / 1e6:,.0f}", shipped.get(name, "-"))
    stdout.print(table)
    for weights in SHIPPED.values():
        table = Table(f"{weights}: rain", right("PSNR rainy, dB"), right("restored, dB"))
        for rain, score in weights.meta["scores"].items():
            before = f"{score['psnr_rainy']:.2f}" if "psnr_rainy" in score else "-"
            table.add_row(rain, before, f"{score['psnr']:.2f}")
        stdout.print(table)
        _print(f"licence {weights.meta['license']}, recipe {weights.meta['recipe']}")
        _print(f"card {weights.card}")
    _print_digests()


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint of the authors' release, .pt.")],
    out: Annotated[Path, typer.Argument(help="Safetensors file to write.")],
) -> None:
    """Convert a released checkpoint to a weights file. No code in it is run."""
    try:
        network = convert_release(source, out)
    except OSError as error:
        raise UserError(str(error)) from error
    _print(f"Wrote {network.name}: use it with --model {network.name} --weights {out}")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .onnx, or .xml for OpenVINO.")],
    format: Annotated[Format, typer.Option(help="Of the file.")] = "onnx",
    model: _Model = "jorder_e_lite",
    weights: _Weights = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="8-bit convolutions, within 0.1 dB; measure whether they are faster."
        ),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="For --int8: folder of some 30 rainy images, needed with weights of your own."
        ),
    ] = None,
) -> None:
    """Write a derainer as a file for ONNX Runtime or OpenVINO, which runs without this package.

    It takes float32 RGB images in [0, 1], (N, 3, H, W) of at least 16x16 px, and returns them
    derained, then the streaks, the region mask and, of networks that predict it, the
    probability of rain; docs/python.md has the details.
    """
    check_export(out, format)
    if calibration is not None and not int8:
        raise UserError("--calibration is for --int8; give both or neither")
    network, ranges = load_model(model, weights), None
    if int8:
        ranges = load_ranges(network) if calibration is None else _calibrate(network, calibration)
    export_network(network, out, format, ranges)
    _print(f"Wrote {out}")


@app.command()
def info() -> None:
    """Show versions, devices and weights, for bug reports."""
    rows = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("jorder-preproc", "torch", "torchvision", "numpy", "pillow", "safetensors"):
        try:
            rows[package] = version(package)
        except PackageNotFoundError:
            rows[package] = "not installed as a package"
    rows["devices"] = ", ".join(_devices())
    rows["CPU threads"] = str(torch.get_num_threads())
    rows["weights"] = str(SHIPPED_WEIGHTS)
    for key, value in rows.items():
        _print(f"{key}: {value}")
    _print_digests()


def _calibrate(network: Jorder, folder: Path) -> Ranges:
    """Measure ranges on the images of a folder."""
    files = list_images(folder, recursive=True)
    if not files:
        raise UserError(f"no images in the folder {folder}; give one of rainy images")
    with progress_bar(stderr) as progress:
        images = map(read_rgb, progress.track(files, description="Calibrating"))
        return measure_ranges(network, images)


def _print(line: str) -> None:
    stdout.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_digests() -> None:
    for name, weights in SHIPPED.items():
        _print(f"sha256 {weights.meta['sha256']}  {name}")


def _devices() -> list[str]:
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind = torch.accelerator.current_accelerator()
    return [f"{kind}:{index}" for index in range(torch.accelerator.device_count())] + ["cpu"]


def _load_network(model: str, weights: Path | None, device: str | None) -> Jorder:
    network = load_model(model, weights)
    device = device or _devices()[0]
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises either
        raise UserError(
            f"cannot use the device {device!r} ({error}); choose from {', '.join(_devices())}"
        ) from error
    return network


def _to_tensor(pixels: NDArray[Any]) -> torch.Tensor:
    """(H, W, 3) as (3, H, W), of the same memory."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _to_array(pixels: torch.Tensor) -> NDArray[Any]:
    return pixels.permute(1, 2, 0).numpy()


def _check_video(inputs: Sequence[str], maps: bool, deveil: str) -> None:
    if len(inputs) > 1:
        raise UserError(f"videos are derained one by one, got {len(inputs)} inputs; give one")
    if maps:
        raise UserError("--save-mask and --save-streaks are for images; leave them out")
    if deveil == "auto":
        raise UserError(
            "--deveil auto decides image by image, and a video would flicker; use on or off"
        )
    if not Path(inputs[0]).is_file():
        raise UserError(f"no file {inputs[0]}; check the path")


def _run_video(source: Path, out: Path, overwrite: bool, **options: Any) -> None:
    """Derain a video to a file, or into a folder, and print what was done."""
    target = out if is_video(out) else out / source.name
    check_output(target.parent)
    if target.resolve() == source.resolve():
        raise UserError(f"{target} is itself the input; choose another name")
    if target.exists() and not overwrite:
        _print(f"{target} exists, skipped; --overwrite derains it again")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar(stderr) as progress:
        task = progress.add_task("Deraining", total=None)
        options["report"] = lambda done, total: progress.update(task, completed=done, total=total)
        try:
            result = derain_video(source, target, **options)
        except ImportError as error:
            raise UserError(str(error)) from error
    if result.rain_probability is not None:
        left = ", left alone" if result.left_alone else ""
        _print(f"{source}: {result.rain_probability:.2f} rain{left}")
    _print(f"Wrote {target}")


def _run(
    title: str,
    inputs: Sequence[str],
    out: Path,
    work: Callable[[Job], None],
    overwrite: bool,
    **extras: bool,
) -> None:
    """Run `work` on every image, report those that fail, and print a summary.

    `extras` are the kinds of `ENDINGS`, and whether `work` writes them.

    Raises:
        typer.Exit: with status 1 if any failed.
        DiskFullError: the results no longer fit on the disk.
    """
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise UserError(f"--out is a folder, got {out}; the images in it keep their names")
    endings = {kind: ENDINGS[kind] for kind, wanted in extras.items() if wanted}
    jobs = plan_jobs(inputs, out, endings)
    check_output(out)
    pending = [job for job in jobs if overwrite or not job.done]
    failed = 0
    start = time.perf_counter()
    with progress_bar(stderr, disable=not pending) as progress:
        for job in progress.track(pending, description=title):
            try:
                job.target.parent.mkdir(parents=True, exist_ok=True)
                work(job)
            except DiskFullError:  # the other images would fail, too
                raise
            except Exception as error:  # go on with the other images
                failed += 1
                print_failure(job.source, error)
    seconds = time.perf_counter() - start
    written = len(pending) - failed
    counts = len(jobs), written, len(jobs) - len(pending), failed
    rate = f"{written / seconds:.2f}" if written else "-"
    table = Table("images", "written", "skipped", "failed", "seconds", "images/s")
    table.add_row(*map(str, counts), f"{seconds:.1f}", rate)
    stdout.print(table)
    if failed:
        raise typer.Exit(1)
