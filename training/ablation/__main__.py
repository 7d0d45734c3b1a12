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
import shlex
import sys
from pathlib import Path

from jorder_preproc.errors import UserError
from jorder_preproc.rain import PRESETS
from training.ablation.curves import write_curves
from training.ablation.photos import BUILT_IN
from training.ablation.runs import Settings, run_table
from training.ablation.tables import TABLES
from training.command_line import command


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
