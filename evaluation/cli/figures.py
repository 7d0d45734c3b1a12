"""Commands that look into one derainer, as the paper's figures and smaller tables do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mmengine.device import get_device
from PIL import Image

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
from evaluation.datasets.photos import Loader, built_in_photographs, find_photographs
from evaluation.downstream.protocol import spread
from evaluation.figures.features import study_features
from evaluation.figures.masks import draw_masks, study_masks
from evaluation.figures.order import compare_orders
from evaluation.figures.rain_types import TYPES, study_types
from evaluation.figures.rainy_photos import KINDS, LARGEST_BYTES, Grid, save_figure
from evaluation.figures.recurrence import draw_recurrence, read_blocks, study_stages
from evaluation.figures.speed import (
    SIZES,
    default_rows,
    draw_speed,
    measure,
    parse_size,
    speed_table,
)
from evaluation.figures.texture import study_texture
from evaluation.figures.training_sets import compare_training_sets, open_networks
from evaluation.report.docs_sections import check_section, replace_section
from evaluation.restoration.methods import do_nothing, other_restorer, our_restorer
from jorder_preproc.atomic import atomic_path
from jorder_preproc.commands import stderr, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.models import load_deveil_model, load_model
from jorder_preproc.models.weights import DEVEIL_WEIGHTS
from jorder_preproc.progress import progress_bar
from jorder_preproc.rain import PRESETS, get_preset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = typer.Typer()

PhotosArgument = Annotated[
    Path | None,
    typer.Argument(help="Folder of clean photographs; default: six built-in ones."),
]
DeveilWeightsOption = Annotated[
    Path | None, typer.Option(help="Of the deveil network (safetensors).")
]


@app.command("speed")
def speed_command(
    derainer: Annotated[
        list[str] | None,
        typer.Option(
            help="Network, or NAME+deveil; may be given again. "
            "Default: all, and jorder_e_lite+deveil."
        ),
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(help=f"WIDTHxHEIGHT, px; may be given again. Default: {', '.join(SIZES)}."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each derainer on each size.")] = 5,
    longest: Annotated[
        float, typer.Option(min=0, help="Seconds; what would take longer is left out.")
    ] = 20.0,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Seconds and memory for a picture (Table 3), with untrained weights; CPU, and GPU if any."""
    start(Launcher.none, device)
    out = output_folder(out, "speed")
    _check_docs(docs, "speed")
    names = derainer or default_rows()
    pixels = [parse_size(text) for text in sizes or SIZES]
    devices = [device] if device else list(dict.fromkeys(["cpu", get_device()]))
    grids, cells = [], []
    with progress_bar(stderr) as progress:
        total = len(devices) * len(names) * len(pixels) * repeats
        bar = progress.add_task("timing", total=total)
        for each in devices:
            own = measure(
                names,
                pixels,
                device=each,
                repeats=repeats,
                longest=longest,
                advance=lambda: progress.advance(bar),
            )
            grids.append(speed_table(own, each))
            cells.append((each, own))
    finish("speed", grids, draw_speed(cells), out, docs, "Seconds by number of pixels")


@app.command("masks")
def masks_command(
    photos: PhotosArgument = None,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    seed: SeedOption = 1,
    limit: LimitOption = None,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Scores with wrong rain masks (Tables 10 to 12), and how right the predicted ones are."""
    start(Launcher.none, device)
    out = output_folder(out, "masks")
    _check_docs(docs, "masks")
    network = load_model(derainer, weights, get_device())
    photographs = open_photographs(photos, out, limit)
    with progress_bar(stderr) as progress:
        bar = progress.add_task("wrong masks", total=len(KINDS) * len(photographs))
        changed, detected = study_masks(
            network, photographs, seed=seed, advance=lambda: progress.advance(bar)
        )
    finish(
        "masks",
        [changed, detected],
        draw_masks(changed),
        out,
        docs,
        "Loss of PSNR with wrong masks",
    )


@app.command("texture")
def texture_command(
    photos: PhotosArgument = None,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    other: Annotated[
        list[str] | None,
        typer.Option(help="NAME=module:callable or NAME=FILE.onnx; may be given again."),
    ] = None,
    seed: SeedOption = 1,
    limit: LimitOption = None,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Errors on rain and beside it, as numbers and as maps (Fig. 9)."""
    start(Launcher.none, device)
    out = output_folder(out, "texture")
    _check_docs(docs, "texture")
    photographs = open_photographs(photos, out, limit)
    name = derainer if weights is None else f"{derainer}={weights}"
    pictures = {kind: list(photographs) for kind in KINDS}
    rows = [do_nothing(), our_restorer(name, get_device())]
    rows += [other_restorer(text, pictures) for text in other or []]
    with progress_bar(stderr) as progress:
        bar = progress.add_task("error maps", total=len(KINDS) * len(photographs))
        grid, sheet = study_texture(
            rows, photographs, seed=seed, advance=lambda: progress.advance(bar)
        )
    finish("texture", [grid], sheet, out, docs, "Error maps")


@app.command("types")
def types_command(
    photos: PhotosArgument = None,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    deveil_weights: DeveilWeightsOption = None,
    seed: SeedOption = 1,
    limit: LimitOption = None,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Occluding, accumulated, veiling and sparkling rain, and what is left of it (Fig. 14)."""
    start(Launcher.none, device)
    out = output_folder(out, "types")
    _check_docs(docs, "types")
    network = load_model(derainer, weights, get_device())
    deveil = load_deveil_model(deveil_weights or DEVEIL_WEIGHTS, get_device())
    photographs = open_photographs(photos, out, limit)
    with progress_bar(stderr) as progress:
        bar = progress.add_task("types of rain", total=len(TYPES) * len(photographs))
        grid, sheet = study_types(
            network, deveil, photographs, seed=seed, advance=lambda: progress.advance(bar)
        )
    finish("types", [grid], sheet, out, docs, "Four types of rain and what was left of them")


@app.command("order")
def order_command(
    photos: Annotated[
        Path | None, typer.Argument(help="Folder of photographs; default: six built-in ones.")
    ] = None,
    real: Annotated[
        bool, typer.Option("--real", help="They show rain of their own: nothing is scored.")
    ] = False,
    preset: Annotated[
        str | None, typer.Option(help=f"Kind of rain, storm by default: {', '.join(PRESETS)}.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the rain, 1 by default.")] = None,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    deveil_weights: DeveilWeightsOption = None,
    limit: LimitOption = None,
    device: DeviceOption = None,
    samples: Annotated[int, typer.Option(min=1, help="Photographs that the sheet shows.")] = 4,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Streaks and veil taken off in the five orders of Fig. 10: PSNR, SSIM and a sheet."""
    if real and photos is None:
        raise UserError("--real needs photographs: python -m evaluation order PHOTOS --real")
    if real and not (preset is seed is docs is None):
        raise UserError(
            "--preset, --seed and --docs are for clean photographs; leave them out, or --real"
        )
    start(Launcher.none, device)
    out = output_folder(out, "order")
    _check_docs(docs, "order")
    rain = None if real else preset or "storm"
    if rain is not None:
        get_preset(rain)
    network = load_model(derainer, weights, get_device())
    deveil = load_deveil_model(deveil_weights or DEVEIL_WEIGHTS, get_device())
    photographs = open_photographs(photos, out, limit)
    with progress_bar(stderr) as progress:
        bar = progress.add_task("five orders", total=len(photographs))
        means, each, sheet = compare_orders(
            network,
            deveil,
            photographs,
            preset=rain,
            seed=1 if seed is None else seed,
            samples=samples,
            advance=lambda: progress.advance(bar),
        )
    grids = [] if real else [means]
    finish("order", grids, sheet, out, docs, "The five orders", None if real else each)


def open_photographs(photos: Path | None, out: Path, limit: int | None) -> dict[str, Loader]:
    """Clean photographs of a folder, or the built-in ones; at most so many, evenly spread.

    Raises:
        ValueError: see `find_photographs` and `built_in_photographs`.
    """
    found = built_in_photographs() if photos is None else find_photographs(photos, out)
    names = list(found)
    return {names[number]: found[names[number]] for number in spread(len(names), limit)}


def finish(
    name: str,
    grids: Sequence[Grid],
    figure: Image.Image | Figure,
    out: Path,
    docs: Path | None,
    alternative: str,
    each: Grid | None = None,
) -> None:
    """Write the tables and the figure of a command, put both on a page, and print the tables.

    Args:
        name: of the command, its section and its files: `NAME.csv`, `NAME_2.csv` of a second
            table, `NAME.md` with all tables, and the figure.
        grids: the tables.
        figure: what to show below them.
        out: folder to write to.
        docs: page that takes them, the figure in `figures` beside it; None leaves it out.
        alternative: the figure in words.
        each: the scores of every photograph, for `NAME_images.csv`.

    Raises:
        ValueError: no section of that name on the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(grid.markdown() for grid in grids)
    files = {f"{name}.md": text} if grids else {}
    for number, grid in enumerate(grids, 1):
        files[f"{name}.csv" if number == 1 else f"{name}_{number}.csv"] = grid.comma_separated()
    if each is not None:
        files[f"{name}_images.csv"] = each.comma_separated()
    for file, content in files.items():
        with atomic_path(out / file) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="")
    shown = save_figure(figure, out / name)
    if docs is not None:
        folder = docs.parent / "figures"
        folder.mkdir(exist_ok=True)
        kept = save_figure(figure, folder / name, LARGEST_BYTES)
        section = f"{text}\n![{alternative}](figures/{kept.name})"
        replace_section(docs, name, section, command_line())
    for grid in grids:
        stdout.print(grid.terminal())
        if grid.note:
            stdout.print(grid.note, soft_wrap=True, highlight=False)
    stdout.print(f"figure: {shown}", soft_wrap=True, highlight=False)


@app.command("features")
def features_command(
    photos: PhotosArgument = None,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    without_detection: Annotated[
        Path | None, typer.Option(help="Weights trained without the loss of R, for Fig. 20.")
    ] = None,
    preset: PresetOption = "heavy",
    seed: SeedOption = 1,
    limit: LimitOption = None,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Feature maps of the first and the last layer (Figs. 8 and 20)."""
    start(Launcher.none, device)
    out = output_folder(out, "features")
    _check_docs(docs, "features")
    get_preset(preset)
    networks = {derainer: load_model(derainer, weights, get_device())}
    if without_detection is not None:
        other = load_model(derainer, without_detection, get_device())
        networks["without detection loss"] = other
    photographs = open_photographs(photos, out, limit)
    with progress_bar(stderr) as progress:
        bar = progress.add_task("features", total=len(photographs))
        grid, sheet = study_features(
            networks,
            photographs,
            preset=preset,
            seed=seed,
            advance=lambda: progress.advance(bar),
        )
    finish("features", [grid], sheet, out, docs, "Feature maps of first and last layer")


@app.command("recurrence")
def recurrence_command(
    photos: PhotosArgument = None,
    derainer: DerainerOption = "jorder_e_lite",
    weights: WeightsOption = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Of `python -m training.ablation --table 21 --out RUNS`: other K."),
    ] = None,
    preset: PresetOption = "heavy",
    seed: SeedOption = 1,
    limit: LimitOption = None,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Scores after each stage of a network, and over the number K of blocks (Figs. 21 and 22)."""
    start(Launcher.none, device)
    out = output_folder(out, "recurrence")
    _check_docs(docs, "recurrence")
    get_preset(preset)
    grids = {} if runs is None else {"blocks K": read_blocks(runs)}
    network = load_model(derainer, weights, get_device())
    photographs = open_photographs(photos, out, limit)
    with progress_bar(stderr) as progress:
        bar = progress.add_task("stages", total=len(photographs))
        grids[f"stages of {derainer}"] = study_stages(
            network,
            photographs,
            preset=preset,
            seed=seed,
            advance=lambda: progress.advance(bar),
        )
    figure = draw_recurrence(grids)
    finish("recurrence", list(grids.values()), figure, out, docs, "PSNR and SSIM over recurrences")


@app.command("training-sets")
def training_sets_command(
    networks: Annotated[
        list[str],
        typer.Argument(metavar="NAME=FILE...", help="What each was trained on, and its weights."),
    ],
    photos: Annotated[
        Path | None, typer.Option(help="Folder of clean photographs; default: six built-in ones.")
    ] = None,
    derainer: DerainerOption = "jorder_e_lite",
    seed: SeedOption = 1,
    limit: LimitOption = None,
    device: DeviceOption = None,
    docs: DocsOption = None,
    out: OutOption = None,
) -> None:
    """Networks trained on different rain, each on every kind of rain (Fig. 15)."""
    start(Launcher.none, device)
    out = output_folder(out, "training-sets")
    _check_docs(docs, "training-sets")
    rows = open_networks(networks, derainer, get_device())
    photographs = open_photographs(photos, out, limit)
    with progress_bar(stderr) as progress:
        bar = progress.add_task("training sets", total=len(KINDS) * len(photographs))
        grid, sheet = compare_training_sets(
            rows, photographs, seed=seed, advance=lambda: progress.advance(bar)
        )
    finish("training-sets", [grid], sheet, out, docs, "Each network on each kind of rain")


def _check_docs(docs: Path | None, name: str) -> None:
    if docs is not None:
        check_section(docs, name)
