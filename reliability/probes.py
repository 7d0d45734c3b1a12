"""Give damaged files to what reads them: `python -m reliability.probes KIND FOLDER CASE...`.

Each CASE is a sub-folder of FOLDER. How it ended is printed in a line of JSON behind each, so
that it is known which case made the process die.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from evaluation.downstream.cache import CachedJorderDerain
from evaluation.downstream.checkpoints import read_state
from evaluation.downstream.records import RecordStore
from evaluation.report.html import gather_samples, write_report
from evaluation.report.schema import read_results
from evaluation.restoration.methods import open_method
from jorder_preproc import cli, derain, deveil
from jorder_preproc.commands import stderr, stdout
from jorder_preproc.errors import UserError
from jorder_preproc.image_files import read_image, read_rgb, read_size
from jorder_preproc.int8 import load_ranges
from jorder_preproc.models import load_deveil_model, load_model
from reliability.mutations import HEIGHT, WIDTH, random_pixels

LIMIT_S = 60
"""Longest time for one case; more counts as hanging."""

_LARGEST_MEMORY = 16 << 30


def main(kind: str, cases: Iterable[Path]) -> None:
    """Try cases and print how each ended: `worked`, `refused` or `defect`."""
    resource.setrlimit(resource.RLIMIT_AS, (_LARGEST_MEMORY, _LARGEST_MEMORY))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for case in cases:
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        ending, message = try_case(kind, case)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"case": case.name, "ending": ending, "message": message}), flush=True)


def try_case(kind: str, case: Path) -> tuple[str, str]:
    """How a case ends, and the message or the traceback."""
    try:
        PROBES[kind](case)
    except UserError as error:
        return ("refused", str(error)) if str(error) else ("defect", "an error without a message")
    except Exception:
        return "defect", traceback.format_exc()
    return "worked", ""


def _image(case: Path) -> None:
    """`jorder derain`: a whole result, or a message and no result; then the loaders."""
    (source,) = case.iterdir()
    out = case / "out"
    errors = io.StringIO()
    stderr.file, stdout.file = errors, io.StringIO()
    try:
        arguments = ["derain", str(source), "--out", str(out), "--save-mask", "--save-streaks"]
        status = cli.app(arguments, standalone_mode=False)
    finally:
        stderr.file = stdout.file = None  # type: ignore[assignment]
    written = sorted(path.name for path in out.rglob("*"))
    if status:
        if "Traceback" in errors.getvalue() or written:
            raise AssertionError(f"left {written} and printed: {errors.getvalue()}")
        for read in (read_rgb, read_size):
            with contextlib.suppress(UserError):
                read(source)
        raise UserError(errors.getvalue())
    extras = [f"{source.stem}_mask.png", f"{source.stem}_streaks.png"]
    assert written == sorted([source.name, *extras]), written
    before = read_image(source)
    for name in written:
        after = read_image(out / name)
        assert after.pixels.shape == before.pixels.shape
        if name == source.name:
            assert (after.pixels.dtype, after.format) == (before.pixels.dtype, before.format)
    assert read_rgb(source).shape[1:] == before.pixels.shape[:2]
    assert read_size(source) == before.pixels.shape[1::-1]


def _weights(case: Path) -> None:
    """Both loaders, and a result of finite numbers."""
    (file,) = case.iterdir()
    with contextlib.suppress(UserError):
        read_state(file)
    image = torch.from_numpy(random_pixels(3, HEIGHT, WIDTH)) / 255
    if "deveil" in file.name:
        result = deveil(load_deveil_model(file), image).background
    else:
        result = derain(load_model(weights=file), image).background
    assert result.shape == image.shape
    assert result.isfinite().all()


def _onnx(case: Path) -> None:
    (file,) = case.iterdir()
    method = open_method(f"a={file}", {})
    image = torch.from_numpy(random_pixels(3, HEIGHT, WIDTH)) / 255
    assert isinstance(method.restore("set", "image", image), torch.Tensor)


def _report(case: Path) -> None:
    """`python -m evaluation report`: a page, or a message and files that are whole."""
    out = case / "out"
    try:
        write_report(gather_samples(read_results(case), case, out), out)
        assert {path.name for path in out.iterdir()} >= {"report.html", "results.json"}
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "<script>alert" not in page and "<img src=x" not in page and "root:x:0" not in page
    finally:
        left = [path for path in case.rglob(".jorder-*")]
        assert not left, left
        if (out / "results.json").exists():
            read_results(out)


def _records(case: Path) -> None:
    store = RecordStore(case)
    indices = sorted(store.done)
    assert len(store.load(indices)) == len(store.origins(indices)) == len(indices)


def _ranges(case: Path) -> None:
    ranges = load_ranges(load_model(weights=case / "jorder_e_lite.safetensors"))
    assert all(low <= high for layer in ranges.values() for low, high in layer.values())


def _cache(case: Path) -> None:
    """Whatever is in the cache, the derained image."""
    image = random_pixels(HEIGHT, WIDTH, 3)
    kept = CachedJorderDerain(str(case))({"img": image})["img"]
    np.testing.assert_array_equal(
        kept, CachedJorderDerain(str(case / "new"))({"img": image})["img"]
    )


PROBES: dict[str, Callable[[Path], None]] = {
    "image": _image,
    "weights": _weights,
    "onnx": _onnx,
    "results": _report,
    "records": _records,
    "sample": _report,
    "ranges": _ranges,
    "cache": _cache,
}

if __name__ == "__main__":
    main(sys.argv[1], [Path(sys.argv[2]) / case for case in sys.argv[3:]])
