"""`python -m training.ablation --table N --out DIR`: train and score the paper's ablations.

Tables 6, 7, 8, 9 and 13 of Sec. 6.3, as 1 the networks of Tables 1 and 2 that the paper trains,
as 21 the recurrences of Figs. 21 and 22. All rows share seed, patches and number
of iterations, and their last weights are scored on photographs that were not trained on. Finished
rows are skipped, an interrupted row continues from its last checkpoint, and networks that several
tables share are trained once. `--curves` draws Figs. 17 to 19 from the runs of Tables 6 and 7.

As in the paper, the networks are trained and scored without the gate of `derain`, with the squared
error as loss, which only Table 13 replaces by the absolute error.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from jorder_preproc.atomic import write_text
from jorder_preproc.errors import UserError
from jorder_preproc.image_files import write_png
from jorder_preproc.models.variants import Variant
from jorder_preproc.rain import PRESETS
from training import model, patches, precision  # noqa: F401  (they register their classes)
from training.__main__ import set_iterations
from training.baselines import BASELINES
from training.checkpoints import find_checkpoint
from training.command_line import command
from training.curves import write_curves
from training.markdown import markdown_table
from training.score import score

CONFIG = Path(__file__).parents[1] / "configs" / "training" / "jorder_e_lite.py"
BUILT_IN = "built-in"
_TRAIN_PHOTOS = ("astronaut", "coffee", "motorcycle", "china.jpg")
_VAL_PHOTOS = ("chelsea", "rocket", "flower.jpg")
RECURRENCES = (1, 2, 3, 4, 5)
"""Numbers K of blocks; the paper's go to about 9."""

_CHECKPOINT_EVERY = 250
_SCORES = 12  # of a curve
_MEANS = ("images", "input_psnr", "input_ssim", "psnr", "ssim")  # of `Score`
_LOSS = {"distance": "l2", "streak_weight": 0.01, "mask_weight": 0.001, "gated": False}
_RAW_LOSS = {"streak_weight": 0.0, "mask_weight": 0.0}  # it predicts no S and R
_COARSE_TO_FINE_L1 = {"coarse_to_fine": True, "distance": "l1"}
_ONE_PATH = ((1, 1),)
_RESIDUAL = {"stages": 2, "residual_stages": True}


@dataclass(frozen=True)
class Network:
    """Differences of a row's network and loss from JORDER (Sec. 4) and its loss (Eq. 6).

    Attributes:
        variant: fields of `Variant`.
        loss: arguments of `DerainTraining`.
        depth: factor on the number of blocks; `blocks` in `variant` overrides it.
        baseline: it is this network of `training.baselines`, and nothing of JORDER.
    """

    variant: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 1
    baseline: bool = False


NETWORKS: dict[str, Network] = {
    "RSB": Network({"paths": _ONE_PATH}),
    "PAR": Network({"paths": _ONE_PATH, "order": "par"}),
    "SRB": Network({"paths": _ONE_PATH, "order": "srb"}),
    # four layers: encoder, the two of one block, residual
    "RAW": Network({"paths": _ONE_PATH, "order": "raw", "blocks": 1}, _RAW_LOSS),
    "RAW-deep": Network({"paths": _ONE_PATH, "order": "raw"}, _RAW_LOSS),
    "RSBD": Network(),
    "PARD": Network({"order": "par"}),
    # a block has one path of the three
    "sequential": Network({"context": "sequential"}, depth=3),
    "JPS": Network({"widening": "pool"}),
    "JST": Network({"widening": "stride"}),
    "JORDER-R": Network({"stages": 2}),
    "RTL": Network(_RESIDUAL),
    "CF-MSL": Network(_RESIDUAL, {"coarse_to_fine": True}),
    "L1": Network(_RESIDUAL, _COARSE_TO_FINE_L1),
    **{f"K{k}": Network({**_RESIDUAL, "blocks": k}, _COARSE_TO_FINE_L1) for k in RECURRENCES},
    **{name: Network(baseline=True) for name in BASELINES},
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: the paper's.
        psnr, ssim: that the paper gives, in dB and [0, 1]: on the first of the table's data sets.
        network: key of `NETWORKS`; the name if it is left out.
    """

    name: str
    psnr: tuple[float, ...] = ()
    ssim: tuple[float, ...] = ()
    network: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", self.network or self.name)


@dataclass(frozen=True)
class Table:
    """One of the paper's tables.

    Attributes:
        title: what it compares.
        sets: the paper's data sets.
        rows: in the paper's order.
        notes: how the paper was read, and where it misprints.
        where: place in the paper, if that is not the table of this number.
    """

    title: str
    sets: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    where: str | None = None


# data sets of the paper, in the order of its tables
_FOUR = ("Rain12", "Rain100L", "Rain100H", "Rain800")
_20L_100 = ("Rain20L", "Rain100L", "Rain100H")

TABLES: dict[int, Table] = {
    1: Table(
        "Methods that the paper trains",
        _FOUR,
        [
            Row("SRCNN", (34.41, 32.63, 18.29, 25.10), (0.9421, 0.9392, 0.6124, 0.8232)),
            Row("DetailNet", (35.31, 33.50, 20.12, 25.22), (0.9485, 0.9444, 0.6351, 0.8228)),
            Row("JORDER-", (35.86, 35.41, 20.79, 25.61), (0.9534, 0.9632, 0.5978, 0.8378), "RSB"),
            Row("JORDER", (36.02, 36.11, 22.15, 26.03), (0.9612, 0.9741, 0.6736, 0.8501), "RSBD"),
            Row("JORDER-R", (36.21, 36.62, 23.45, 26.73), (0.9644, 0.9820, 0.7490, 0.8683)),
            Row("JORDER-E", (36.14, 37.10, 24.54, 27.08), (0.9593, 0.9795, 0.8024, 0.8716), "L1"),
        ],
        [
            "SRCNN and DetailNet have the sizes of their papers, whatever C and K.",
            "The paper's table calls two rows JORDER-R; the first one is JORDER-.",
        ],
        where="Tables 1 and 2",
    ),
    6: Table(
        "Order of prediction",
        _20L_100[:1],
        [
            Row("RSB", (34.66,), (0.9622,)),
            Row("PAR", (34.63,), (0.9624,)),
            Row("SRB", (34.28,), (0.9593,)),
            Row("RAW", (33.94,), (0.9576,)),
            Row("RAW, as deep as RSB", network="RAW-deep"),
        ],
        [
            "RAW has four layers: the first, two of one block, the last. The row below it is "
            "ours: B alone from as many blocks as the other rows have.",
        ],
    ),
    7: Table(
        "Contextualized dilated convolution and order of prediction",
        _20L_100,
        [
            Row("PAR", (34.63,), (0.9624,)),
            Row("PARD", (35.06,), (0.9655,)),
            Row("RSB", (34.66, 35.41, 20.79), (0.9622, 0.9632, 0.5978)),
            Row("RSBD", (35.16, 36.11, 22.15), (0.966, 0.9711, 0.6736)),
        ],
        [
            "On Rain100L and Rain100H the paper calls RSB and RSBD, of 10 layers, JORDER- and "
            "JORDER.",
            "The SSIM 0.9711 of JORDER on Rain100L is 0.9741 in the paper's other tables.",
        ],
    ),
    8: Table(
        "Contextualized dilated convolution (CDC): none, parallel, sequential",
        _FOUR[1:],
        [
            Row("w/o CDC", (35.41, 20.79, 25.61), (0.9632, 0.5978, 0.8378), "RSB"),
            Row("CDC (parallel)", (36.11, 22.15, 26.03), (0.9741, 0.6736, 0.8501), "RSBD"),
            Row("CDC (sequential)", (36.37, 22.45, 26.23), (0.9767, 0.6972, 0.8575), "sequential"),
        ],
        ["The sequential network chains the paths of every block: as many convolutions."],
    ),
    9: Table(
        "What widens the context: dilation, pooling (JPS) or strides (JST)",
        _FOUR,
        [
            Row("JORDER-", (35.86, 35.41, 20.79, 25.61), (0.9534, 0.9632, 0.5978, 0.8378), "RSB"),
            Row("JPS", (35.62, 35.11, 20.53, 25.42), (0.9511, 0.9584, 0.5682, 0.8212)),
            Row("JST", (35.93, 35.82, 21.67, 25.77), (0.9589, 0.9764, 0.6713, 0.8519)),
            Row("JORDER", (36.02, 36.11, 22.15, 26.03), (0.9644, 0.9820, 0.7490, 0.8683), "RSBD"),
        ],
        [
            "The SSIM printed for JORDER is that of JORDER-R; Table 8 has 0.9741, 0.6736 and "
            "0.8501 on Rain100L, Rain100H and Rain800.",
            "The kernels of JST, which the paper does not give, reach as far as the dilated "
            "ones; that takes more weights.",
        ],
    ),
    13: Table(
        "Improvements on JORDER-R, each with those above it",
        _20L_100[2:],
        [
            Row("JORDER-R", (23.45,), (0.7490,)),
            Row("RTL", (24.39,), (0.7992,)),
            Row("CF-MSL", (24.43,), (0.7987,)),
            Row("L1", (24.54,), (0.8024,)),
        ],
    ),
    21: Table(
        "Number K of contextualized dilated convolutions",
        (),
        [Row(f"K = {blocks}", network=f"K{blocks}") for blocks in RECURRENCES],
        [
            "The networks are L1 of Table 13 with other numbers of blocks; the setting K is not "
            "used.",
            "The paper draws curves, without numbers, that are flat from K = 9 on.",
        ],
        where="Figs. 21 and 22",
    ),
}


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

    As in the paper, training has a single kind of rain and no other degradation. float32.
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
            **{**_LOSS, **NETWORKS[network].loss},
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
        and seconds_per_iteration of training.
    """
    runner = Runner.from_cfg(build_config(network, seed, settings, run))
    runner.train()
    trained = runner.model.network.eval().requires_grad_(False)
    (scores,) = score(trained, settings.val_photos, [settings.rain])
    return {
        "parameters": sum(p.numel() for p in trained.parameters()),
        **{name: getattr(scores, name) for name in _MEANS},
        "seconds_per_iteration": float(runner.message_hub.get_scalar("train/time").mean()),
    }


def build_table(number: int, out: Path) -> dict[str, Any]:
    """A table for JSON: means over seeds of the finished rows, beside the paper's values."""
    table, rows = TABLES[number], []
    measured: dict[str, Any] = {}
    for row in table.rows:
        found = {
            int(path.parent.name.rpartition("_seed")[2]): json.loads(path.read_text())
            for path in out.glob(f"runs/{row.network}_seed*/result.json")
        }
        if not found:
            continue
        results = dict(sorted(found.items()))
        measured = next(iter(results.values()))
        line: dict[str, Any] = {
            "row": row.name,
            "blocks": NETWORKS[row.network].variant.get("blocks"),
            "seeds": list(results),
            "parameters": measured["parameters"],
        }
        for name in ("psnr", "ssim"):
            values = [result[name] for result in results.values()]
            line[name] = statistics.fmean(values)
            line[f"{name}_deviation"] = statistics.stdev(values) if len(values) > 1 else None
        line["seconds_per_iteration"] = measured["seconds_per_iteration"]
        line["paper"] = {
            data: {"psnr": psnr, "ssim": ssim}
            for data, psnr, ssim in zip(table.sets, row.psnr, row.ssim, strict=False)
        }
        rows.append(line)
    return {
        "table": number,
        "where": table.where or f"Table {number}",
        "title": table.title,
        "notes": list(table.notes),
        "images": measured["images"],
        "input": {name: measured[f"input_{name}"] for name in ("psnr", "ssim")},
        "rows": rows,
    }


def to_markdown(table: Mapping[str, Any]) -> str:
    """The table in Markdown, with its settings and command."""
    settings = table["settings"]
    sets = list(dict.fromkeys(data for row in table["rows"] for data in row["paper"]))

    def measured(row: Mapping[str, Any], name: str, digits: int) -> str:
        deviation = row[f"{name}_deviation"]
        spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
        return f"{row[name]:.{digits}f}{spread}"

    def papers(row: Mapping[str, Any], data: str) -> str:
        if data not in row["paper"]:
            return "-"
        return f"{row['paper'][data]['psnr']:.2f} / {row['paper'][data]['ssim']:.4f}"

    seeds = max(len(row["seeds"]) for row in table["rows"])
    spread = ", ± its standard deviation over the seeds" if seeds > 1 else ""
    heads = ["network", "parameters", "PSNR", "SSIM", *(f"paper, {data}" for data in sets)]
    lines = [
        f"# {table['where']}: {table['title']}",
        "",
        f"Luminance PSNR (dB) and SSIM{spread}, full frame, on {table['images']} photographs "
        f"under the rain `{settings['rain']}`. C = {settings['channels']}, "
        f"K = {settings['blocks']}; {settings['iterations']:,} iterations on "
        f"{settings['batch_size']} patches of {settings['patch']} x {settings['patch']} px, "
        f"{seeds} seed{'s' if seeds > 1 else ''}. Trained and scored without the gate.",
        "",
        "The paper's networks are larger and trained longer, on other rain: only the order of the "
        "rows and their differences are comparable.",
        "",
        "```",
        table["command"],
        "```",
        "",
    ]
    given = [f"{table['input']['psnr']:.2f}", f"{table['input']['ssim']:.4f}"]
    rows = [["rainy input", "", *given, *[""] * len(sets)]]
    for row in table["rows"]:
        ours = [f"{row['parameters']:,}", measured(row, "psnr", 2), measured(row, "ssim", 4)]
        rows.append([row["row"], *ours, *(papers(row, data) for data in sets)])
    lines.append(markdown_table(heads, rows))
    if table["notes"]:
        lines += ["", *(f"- {note}" for note in table["notes"])]
    return "\n".join(lines) + "\n"


def write_built_in_photos(folder: Path, names: Sequence[str]) -> str:
    """Photographs that come inside scikit-image and scikit-learn, as files; gives the folder.

    Raises:
        UserError: these packages are not there.
    """
    try:
        import skimage.data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise UserError(
            "the built-in photographs need scikit-image and scikit-learn; "
            "pip install 'jorder-preproc[demo]', or pass --photos and --val-photos"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{Path(name).stem}.png"
        if path.exists():
            continue
        if name.endswith(".jpg"):
            pixels = load_sample_image(name)
        elif name == "motorcycle":
            pixels = skimage.data.stereo_motorcycle()[0]
        else:
            pixels = getattr(skimage.data, name)()
        write_png(path, pixels)
    return str(folder)


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
        used = replace(used, photos=write_built_in_photos(out / "photos/train", _TRAIN_PHOTOS))
    if settings.val_photos == BUILT_IN:
        used = replace(used, val_photos=write_built_in_photos(out / "photos/val", _VAL_PHOTOS))
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


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


@command
def main(arguments: list[str]) -> None:
    """Make a table."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m training.ablation",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = "; ".join(f"{number}: {table.where}" for number, table in TABLES.items() if table.where)
    made = parser.add_mutually_exclusive_group(required=True)
    made.add_argument("--table", type=int, choices=list(TABLES), help=which)
    made.add_argument("--curves", action="store_true", help="draw curves.png from runs in --out")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and tables")
    parser.add_argument("--rows", nargs="+", help="names as in the table; default: all")
    parser.add_argument("--seeds", type=_positive, default=1, help="trainings per row (1)")
    inside = "default: some that come inside scikit-image and scikit-learn"
    parser.add_argument("--photos", default=BUILT_IN, help=f"clean photographs; {inside}")
    parser.add_argument("--val-photos", default=BUILT_IN, help="others to score on; likewise")
    parser.add_argument("--rain", default="heavy", choices=list(PRESETS), help="preset (heavy)")
    for name, default, what in (
        ("iterations", 3000, "of training"),
        ("channels", 16, "C"),
        ("blocks", 3, "K"),
        ("patch", 48, "edge of a patch, px"),
        ("batch-size", 8, "patches"),
    ):
        parser.add_argument(
            f"--{name}", type=_positive, default=default, help=f"{what} ({default})"
        )
    args = parser.parse_args(arguments)
    if args.curves:
        print(write_curves(args.out))
        return
    for name in ("photos", "val_photos"):
        value = getattr(args, name)
        if value != BUILT_IN and not Path(value).is_dir():
            raise UserError(f"--{name.replace('_', '-')}: no folder {value}")
    settings = Settings(**{name: getattr(args, name) for name in Settings.__dataclass_fields__})
    line = shlex.join(["python", "-m", "training.ablation", *arguments])
    path = run_table(args.table, settings, args.seeds, args.out, args.rows, line)
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
