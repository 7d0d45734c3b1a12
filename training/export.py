"""`python -m training.export WORK_DIR OUT`: the best weights of a run, with their model card."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.models import list_deveil_models, save_weights
from jorder_preproc.models.variants import DeveilVariant, get_deveil_variant, get_variant
from training.command_line import command
from training.hooks import RECORD, WEIGHTS
from training.score import (
    VALIDATION_SEED,
    Score,
    add_arguments,
    load_network,
    score,
    to_markdown,
)

_CARD = """# {model}

{parameters:,} parameters, {cost}; {size:,} bytes in half precision.

sha256 `{sha256}`

## Training

Data: {data}

{runs}

## Scores

Luminance PSNR (dB) and SSIM, full frame, on {images} clean photographs that were not
trained on, seed {seed}, and the mean gain of the worst 5 % of them. Rain by the presets of
`jorder_preproc.rain` and by the libraries that the rows name; for `dry` photographs, without
rain, the reference is the input; rows that end in `_256` are of JPEGs of 256x256. AUC: area under
the ROC curve of the probability of rain, against dry photographs of that size.

```
python -m training score VALIDATION_PHOTOS --model {model}{rains}{pairs}
```

{table}
"""


def export(
    work_dir: Path,
    out: Path,
    photos: str,
    data: str,
    earlier: Sequence[Path] = (),
    rains: Sequence[str] | None = None,
    pairs: str | None = None,
) -> list[Score]:
    """Write the best weights of a run to `out`, in half precision, and their model card beside it.

    The scores in the card are those of the written file.

    Args:
        work_dir: of the run; holds what `KeepBestWeights` wrote.
        out: safetensors file to write; the card gets the ending `.md`.
        photos: validation photographs to score on.
        data: one sentence on what it was trained on.
        earlier: records (`best.json`) of the runs whose weights this one started from.
        rains, pairs: what to score on besides; see `score`.

    Raises:
        UserError: the run has left no weights; see also `score`.
    """
    weights, record_file = work_dir / WEIGHTS, work_dir / RECORD
    if not weights.is_file() or not record_file.is_file():
        raise UserError(f"{work_dir} holds no {WEIGHTS} and {RECORD}; has the run validated yet?")
    records = [json.loads(path.read_text()) for path in [*earlier, record_file]]
    name = records[-1]["model"]
    variant = get_deveil_variant(name) if name in list_deveil_models() else get_variant(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary, atomic_path(out.with_suffix(".md")) as card_file:
        save_weights(load_network(name, str(weights)), temporary, torch.float16)
        scores = score(load_network(name, str(temporary)), photos, rains, pairs)
        card_file.write_text(
            _CARD.format(
                model=name,
                parameters=variant.parameters,
                cost=f"{variant.macs_per_cell / 1000:.1f} kMAC per cell of the overview"
                if isinstance(variant, DeveilVariant)
                else f"{variant.macs_per_pixel / 1000:.1f} kMAC per pixel",
                size=temporary.stat().st_size,
                sha256=hashlib.sha256(temporary.read_bytes()).hexdigest(),
                data=data,
                runs="\n\n".join(
                    f"{r['iterations']:,} iterations in {r['hours']:.2f} hours:\n\n"
                    f"```\n{r['command']}\n```"
                    for r in records
                ),
                images=scores[0].images,
                seed=VALIDATION_SEED,
                rains="" if rains is None else f" --rains {' '.join(rains)}",
                pairs="" if pairs is None else f" --pairs {Path(pairs).resolve().name.upper()}",
                table=to_markdown(scores),
            ),
            encoding="utf-8",
        )
    return scores


@command
def main(arguments: list[str]) -> None:
    """Export."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--val-photos", required=True, help="clean photographs to score on")
    parser.add_argument("--data", required=True, help="one sentence: what it was trained on")
    parser.add_argument(
        "--earlier", type=Path, nargs="*", default=[], help="best.json of the runs it went on from"
    )
    add_arguments(parser)
    args = parser.parse_args(arguments)
    where = args.work_dir, args.out, args.val_photos
    print(to_markdown(export(*where, args.data, args.earlier, args.rains, args.pairs)))


if __name__ == "__main__":
    sys.exit(main())
