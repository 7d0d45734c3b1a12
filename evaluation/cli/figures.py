"""`python -m evaluation figure NAME`: the paper's figures and smaller tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure
from mmengine.device import get_device
from PIL import Image
from torch import Tensor

from evaluation.cli import options as cli
from evaluation.datasets.photos import Loader, built_in_photographs, find_photographs
from evaluation.datasets.subsets import spread
from evaluation.figures.drawing import save_figure
from evaluation.figures.features import study_features
from evaluation.figures.masks import draw_masks, study_masks
from evaluation.figures.order import compare_orders
from evaluation.figures.rain_types import TYPES, study_types
from evaluation.figures.recurrence import draw_recurrence, read_blocks, study_stages
from evaluation.figures.samples import draw_samples
from evaluation.figures.texture import study_texture
from evaluation.figures.training_sets import compare_training_sets, open_networks
from evaluation.report.grid import Grid
from evaluation.report.schema import read_results
from evaluation.restoration.methods import make_input_row, open_derainer, open_method
from evaluation.restoration.scores import KINDS
from jorder_preproc.atomic import write_text
from jorder_preproc.commands import command_group, stderr, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.models import Jorder, load_deveil_model, load_model
from jorder_preproc.progress import progress_bar
from jorder_preproc.rain import PRESETS, get_preset

app = typer.Typer()
figure_app = command_group("A figure or small table of the paper about a derainer.")
app.add_typer(figure_app, name="figure")


@dataclass(frozen=True)
class CommonOptions:
    """Options of all figures."""

    derainer: cli.DerainerName = "jorder_e_lite"
    limit: cli.Limit = None
    device: cli.Device = None
    out: cli.Out = None

    def begin(self, name: str) -> Path:
        """Choose the device; the output folder."""
        cli.start("none", self.device)
        return cli.output_folder(self.out, name)


@dataclass(frozen=True)
class PhotoOptions(CommonOptions):
    """Options of the figures of one derainer on photographs."""

    photos: Annotated[
        Path | None, typer.Argument(help="Folder of clean photographs; default: six built-in ones.")
    ] = None
    derainer_weights: cli.DerainerWeights = None

    def load(self) -> Jorder:
        """The derainer."""
        return load_model(self.derainer, self.derainer_weights, get_device())


@figure_app.command("samples")
def samples_command(
    folder: Annotated[Path, typer.Argument(help="Output folder of an evaluation.")],
    rows: Annotated[int, typer.Option(min=1, help="At most so many samples.")] = 2,
    out: cli.Out = None,
) -> None:
    """Sample images of an evaluation, with the model's predictions."""
    out = cli.output_folder(out, "samples")
    sheet = draw_samples(read_results(folder), folder, rows)
    out.mkdir(parents=True, exist_ok=True)
    cli.say(f"sheet: {save_figure(sheet, out / 'samples')}")


@figure_app.command("masks")
@cli.expand_options
def masks_command(options: PhotoOptions, seed: cli.Seed = 1) -> None:
    """Scores with wrong rain masks (Tables 10 to 12), and accuracy of the predicted ones."""
    out = options.begin("masks")
    network = options.load()
    with open_photographs(options, options.photos, out, len(KINDS)) as photographs:
        changed, detected = study_masks(network, photographs, seed)
    finish("masks", [changed, detected], draw_masks(changed), out)


@figure_app.command("texture")
@cli.expand_options
def texture_command(options: PhotoOptions, method: cli.Methods = None, seed: cli.Seed = 1) -> None:
    """Errors on pixels with and without rain, as numbers and as maps (Fig. 9)."""
    out = options.begin("texture")
    weights = options.derainer_weights
    name = options.derainer if weights is None else f"{options.derainer}={weights}"
    with open_photographs(options, options.photos, out, len(KINDS)) as photographs:
        images = {kind: list(photographs) for kind in KINDS}
        rows = [make_input_row(), open_derainer(name, get_device())]
        rows += [open_method(text, images) for text in method or []]
        grid, sheet = study_texture(rows, photographs, seed)
    finish("texture", [grid], sheet, out)


@figure_app.command("types")
@cli.expand_options
def types_command(
    options: PhotoOptions, deveil_weights: cli.DeveilWeights = None, seed: cli.Seed = 1
) -> None:
    """Occluding, accumulated, veiling and sparkling rain, and what remains of it (Fig. 14)."""
    out = options.begin("types")
    network, deveil = options.load(), load_deveil_model(deveil_weights, get_device())
    with open_photographs(options, options.photos, out, len(TYPES)) as photographs:
        grid, sheet = study_types(network, deveil, photographs, seed)
    finish("types", [grid], sheet, out)


@figure_app.command("order")
@cli.expand_options
def order_command(
    options: PhotoOptions,
    real: Annotated[
        bool, typer.Option("--real", help="The photographs show real rain: nothing is scored.")
    ] = False,
    preset: Annotated[
        str | None, typer.Option(help=f"Kind of rain, storm by default: {', '.join(PRESETS)}.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the rain, 1 by default.")] = None,
    deveil_weights: cli.DeveilWeights = None,
    samples: Annotated[int, typer.Option(min=1, help="Photographs that the sheet shows.")] = 4,
) -> None:
    """Deraining and deveiling in the five orders of Fig. 10: PSNR, SSIM and a sheet."""
    if real and options.photos is None:
        raise UserError("--real needs photographs: python -m evaluation figure order PHOTOS --real")
    if real and not (preset is seed is None):
        raise UserError("--preset and --seed are for clean photographs; leave them out, or --real")
    out = options.begin("order")
    rain = None if real else preset or "storm"
    if rain is not None:
        get_preset(rain)
    network, deveil = options.load(), load_deveil_model(deveil_weights, get_device())
    with open_photographs(options, options.photos, out) as photographs:
        means, each, sheet = compare_orders(
            network,
            deveil,
            photographs,
            preset=rain,
            seed=1 if seed is None else seed,
            samples=samples,
        )
    finish("order", [] if real else [means], sheet, out, None if real else each)


@figure_app.command("features")
@cli.expand_options
def features_command(
    options: PhotoOptions,
    without_detection: Annotated[
        Path | None, typer.Option(help="Weights trained without the loss of R, for Fig. 20.")
    ] = None,
    preset: cli.Preset = "heavy",
    seed: cli.Seed = 1,
) -> None:
    """Feature maps of the first and the last layer (Figs. 8 and 20)."""
    out = options.begin("features")
    get_preset(preset)
    networks = {options.derainer: options.load()}
    if without_detection is not None:
        other = load_model(options.derainer, without_detection, get_device())
        networks["without detection loss"] = other
    with open_photographs(options, options.photos, out) as photographs:
        grid, sheet = study_features(networks, photographs, preset=preset, seed=seed)
    finish("features", [grid], sheet, out)


@figure_app.command("recurrence")
@cli.expand_options
def recurrence_command(
    options: PhotoOptions,
    runs: Annotated[
        Path | None,
        typer.Option(help="Of `python -m training.ablation --table 21 --out RUNS`: other K."),
    ] = None,
    preset: cli.Preset = "heavy",
    seed: cli.Seed = 1,
) -> None:
    """Scores after each stage of a network, and over the number K of blocks (Figs. 21 and 22)."""
    out = options.begin("recurrence")
    get_preset(preset)
    grids = {} if runs is None else {"blocks K": read_blocks(runs)}
    network = options.load()
    with open_photographs(options, options.photos, out) as photographs:
        stages = study_stages(network, photographs, preset, seed)
    grids[f"stages of {options.derainer}"] = stages
    finish("recurrence", list(grids.values()), draw_recurrence(grids), out)


@figure_app.command("training-sets")
@cli.expand_options
def training_sets_command(
    networks: Annotated[
        list[str],
        typer.Argument(metavar="NAME=FILE...", help="Training set and weights of each network."),
    ],
    options: CommonOptions,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of clean photographs; default: six built-in ones.")
    ] = None,
    seed: cli.Seed = 1,
) -> None:
    """Networks trained on different rain, each on every kind of rain (Fig. 15)."""
    out = options.begin("training-sets")
    rows = open_networks(networks, options.derainer, get_device())
    with open_photographs(options, photos, out, len(KINDS)) as photographs:
        grid, sheet = compare_training_sets(rows, photographs, seed)
    finish("training-sets", [grid], sheet, out)


@contextmanager
def open_photographs(
    options: CommonOptions, photos: Path | None, out: Path, rounds: int = 1
) -> Iterator[Mapping[str, Loader]]:
    """Photographs of a folder, or the built-in ones, with a progress bar while they are used.

    Args:
        options: `limit` is used.
        photos: the folder.
        out: images there are left out.
        rounds: how often each photograph is loaded.
    """
    found = built_in_photographs() if photos is None else find_photographs(photos, out)
    found = dict(spread(list(found.items()), options.limit))
    with progress_bar(stderr) as progress:
        bar = progress.add_task("photographs", total=rounds * len(found))
        begun = count()

        def counted(load: Loader) -> Tensor:
            progress.update(bar, completed=next(begun))
            return load()

        yield {name: partial(counted, load) for name, load in found.items()}
        progress.update(bar, completed=next(begun))


def finish(
    name: str,
    grids: Sequence[Grid],
    figure: Image.Image | Figure | None,
    out: Path,
    each: Grid | None = None,
) -> None:
    """Write the tables and the figure, if any, of a command, and print the tables.

    Args:
        name: of the command and its files: `NAME.csv`, `NAME_2.csv` of a second table,
            `NAME.md` with all tables, and the figure.
        grids: the tables.
        figure: shown with them.
        out: output folder.
        each: the scores of every photograph, for `NAME_images.csv`.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {f"{name}.md": "\n".join(grid.markdown() for grid in grids)} if grids else {}
    for number, grid in enumerate(grids, 1):
        files[f"{name}.csv" if number == 1 else f"{name}_{number}.csv"] = grid.comma_separated()
    if each is not None:
        files[f"{name}_images.csv"] = each.comma_separated()
    for file, content in files.items():
        write_text(out / file, content)
    for grid in grids:
        stdout.print(grid.terminal())
    if figure is not None:
        cli.say(f"figure: {save_figure(figure, out / name)}")
