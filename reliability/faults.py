"""`python -m reliability faults`: kills, full disks, Ctrl-C; results stay those of a quiet run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from safetensors.torch import load_file

from evaluation.datasets.synthetic.dataset import write_dataset
from evaluation.downstream.records import RecordStore
from jorder_preproc.errors import UserError
from reliability.checks import Checks, run_checks
from reliability.processes import (
    Command,
    digests,
    enlarge,
    expect,
    run,
    small_disk,
    temporary_files,
)
from training.checkpoints import find_checkpoint

app = typer.Typer()
_IMAGES = 24
_ITERATIONS = 12
_LIMIT = 24  # images of an evaluation

# a DataLoader that derains into the cache, without the start of a whole evaluation
_CACHE = """
import sys
from pathlib import Path
import cv2
from torch.utils.data import DataLoader
from evaluation.downstream.cache import CachedJorderDerain
class Images:
    def __init__(self, photos, cache):
        self.paths, self.derain = sorted(Path(photos).rglob("*.png")), CachedJorderDerain(cache)
    def __len__(self):
        return len(self.paths)
    def __getitem__(self, index):
        return self.derain({"img": cv2.imread(str(self.paths[index]))})["img"].mean()
for _ in DataLoader(Images(*sys.argv[1:]), num_workers=1):
    pass
"""

_OUT_OF_MEMORY = """
import re, resource, sys
from pathlib import Path
import torch
from jorder_preproc import derain, load_model
from jorder_preproc.backends import use_backend
backend, megabytes, expected = sys.argv[1], int(sys.argv[2]), torch.load(sys.argv[3])
network = use_backend(load_model("jorder_e_lite"), backend)
image = torch.rand(3, 1400, 1400, generator=torch.Generator().manual_seed(0))
if not megabytes:
    torch.save(derain(network, image, dry="derain").background, sys.argv[3])
    sys.exit()
derain(network, image[:, :64, :64])
used = 1024 * int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 10**6, resource.RLIM_INFINITY))
tiled = []
whole = sys.modules["jorder_preproc.functional.derain"]._derain_batch
def watch(*arguments):
    tiled.append(arguments[4])
    return whole(*arguments)
sys.modules["jorder_preproc.functional.derain"]._derain_batch = watch
try:
    background = derain(network, image, dry="derain").background
except Exception as error:
    print("refused:", type(error).__name__)
else:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    print("tiles:", tiled, "difference:", (background - expected).abs().max().item() < 1e-4)
"""


@dataclass(frozen=True)
class Work:
    """A command that can be resumed, and its result.

    Attributes:
        name: for the table.
        command: arguments of Python for a folder of results, which is there or not.
        result: what must equal the result of an undisturbed run.
        begun: whether some results are there, and others are not yet.
    """

    name: str
    command: Callable[[Path], list[str]]
    result: Callable[[Path], Any]
    begun: Callable[[Path], bool]


@app.command()
def faults(
    seed: Annotated[int, typer.Option(min=0, help="Of the moments.")] = 0,
    kills: Annotated[int, typer.Option(min=0, help="In all, over the four kinds of work.")] = 50,
    only: Annotated[
        list[str] | None, typer.Option(help="Rows whose name begins so; may be repeated.")
    ] = None,
) -> None:
    """Disturb commands in every way that is listed, and compare with undisturbed runs.

    Exits with status 1 if something does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        checks = make_checks(Path(folder), random.Random(seed), kills)
        chosen = {
            (what, name): check
            for (what, name), check in checks.items()
            if not only or what.startswith(tuple(only))
        }
        if not chosen:
            rows = ", ".join(sorted({what for what, _ in checks}))
            asked = " or ".join(only or ())
            raise UserError(f"--only: no row begins with {asked}; there are: {rows}")
        run_checks(chosen)


def make_checks(root: Path, rng: random.Random, kills: int) -> Checks:
    """All checks, by what happens and what it happens to; they work below `root`."""
    photos = make_photos(root / "photos", _IMAGES)
    derain, evaluation = derain_work(photos), evaluation_work(root)
    training, caching = training_work(photos), cache_work(photos)
    works = [derain, evaluation, training, caching]

    @cache
    def undisturbed(work: Work) -> tuple[Any, float]:
        """The result and the seconds of an undisturbed run."""
        out = root / "undisturbed" / work.name
        start = time.monotonic()
        run(work.command(out))
        seconds = time.monotonic() - start
        return work.result(out), seconds

    def on(work: Work, check: Callable[..., str | None], *more: Any) -> Callable[[], str | None]:
        def start() -> str | None:
            result, seconds = undisturbed(work)
            folder = root / check.__name__ / work.name
            return check(work, folder, result, seconds, *more)

        return start

    checks: Checks = {}
    for number, work in enumerate(works):
        share = kills // len(works) + (number < kills % len(works))
        checks[f"kill -9, {share} times", work.name] = on(work, kill_and_resume, rng, share)
    for work in (derain, evaluation, training):
        checks["Ctrl-C", work.name] = on(work, interrupt_and_resume)
    for work, size in ((derain, 400_000), (caching, 400_000), (evaluation, 700_000)):
        checks["disk full", work.name] = on(work, fill_disk, size)
    for work in (derain, caching, evaluation):
        checks["two at once", work.name] = on(work, run_two)
    checks["a worker dies", evaluation.name] = on(evaluation, kill_worker)
    checks["unreadable files", derain.name] = partial(read_unreadable, photos, root / "unreadable")
    for backend in ("torch", "onnxruntime", "openvino"):
        file = root / f"{backend}.pt"
        checks["out of memory", backend] = partial(run_out_of_memory, backend, file)
    return checks


def make_photos(folder: Path, count: int) -> Path:
    """Small drawn scenes as PNG files."""
    scenes = write_dataset("segmentation", folder.parent / "drawn", count, seed=3, scale=0.5)
    folder.mkdir()
    for path in (scenes / "images/validation").glob("*.jpg"):
        with Image.open(path) as image:
            image.save(folder / f"{path.stem}.png")
    return folder


def derain_work(photos: Path) -> Work:
    """`jorder derain` on a folder."""
    return Work(
        "jorder derain",
        lambda out: [
            *("-m", "jorder_preproc", "derain", str(photos), "-o", str(out)),
            *("--dry", "derain", "--device", "cpu"),
        ],
        digests,
        lambda out: len(list(out.glob("*.png"))) >= 2,
    )


def evaluation_work(root: Path) -> Work:
    """The built-in classification benchmark, scenes and all."""

    def command(out: Path) -> list[str]:
        options = ["--limit", str(_LIMIT), "--samples", "2", "--workers", "1", "--out", str(out)]
        return ["-m", "evaluation", "classification", *options]

    def result(out: Path) -> Any:
        scores = {
            folder.name.rsplit("-", 1)[0]: {
                index: RecordStore(folder).load([index])[0]["scores"].round(5).tolist()
                for index in sorted(RecordStore(folder).done)
            }
            for folder in (out / "records").iterdir()
        }
        images = digests(out / "samples") | digests(out / "scenes")
        return (out / "table.csv").read_text(), scores, images, temporary_files(out)

    return Work(
        "evaluation", command, result, lambda out: any(out.glob("records/rainy-*/settings.json"))
    )


def training_work(photos: Path) -> Work:
    """A few iterations with a checkpoint after each; `--resume` where there is one."""

    def command(out: Path) -> list[str]:
        options = {
            "train_dataloader.dataset.stages": "[(0,32,2)]",
            "train_dataloader.dataset.layers_per_preset": "2",
            "train_dataloader.dataset.mixture.streaks": "0",
            "default_hooks.checkpoint.interval": "1",
            "optim_wrapper.type": "OptimWrapper",  # which precision is faster is up to chance
        }
        resume = ["--resume"] if find_checkpoint(out) else []
        return [
            *("-m", "training", "configs/training/jorder_e_lite.py", "--photos", str(photos)),
            *("--iterations", str(_ITERATIONS), "--work-dir", str(out), *resume),
            *("--cfg-options", *(f"{key}={value}" for key, value in options.items())),
        ]

    def result(out: Path) -> Any:
        state = torch.load(out / f"iter_{_ITERATIONS}.pth", weights_only=False)
        parts = [state["state_dict"], state["ema_state_dict"], load_file(out / "best.safetensors")]
        digest = hashlib.sha256()
        for part in parts:
            for name in sorted(part):
                digest.update(part[name].numpy().tobytes())
        whole = {path.name for path in out.glob("iter_*.pth")}
        return digest.hexdigest(), whole, temporary_files(out)

    return Work("training", command, result, lambda out: (out / "iter_3.pth").exists())


def cache_work(photos: Path) -> Work:
    """Writing the cache of derained images."""
    return Work(
        "cache",
        lambda out: ["-c", _CACHE, str(photos), str(out)],
        digests,
        lambda out: any(out.rglob("*.png")),
    )


def kill_and_resume(
    work: Work, folder: Path, expected: Any, seconds: float, rng: random.Random, count: int
) -> None:
    """Kill runs at random moments, resume each, and compare whenever one ends."""
    killed = number = 0
    while killed < count:
        out = folder / str(number)
        command = Command(work.command(out))
        until = time.monotonic() + rng.uniform(0, seconds)
        while command.running and time.monotonic() < until:
            time.sleep(0.005)
        if command.running:
            command.kill()
            killed += 1
            continue
        _check_end(work, command, out, expected)
        number += 1
    _check_end(work, Command(work.command(folder / str(number))), folder / str(number), expected)


def interrupt_and_resume(work: Work, folder: Path, expected: Any, seconds: float) -> None:
    """Ctrl-C once some results are there."""
    command = Command(work.command(folder))
    command.wait_for(lambda: work.begun(folder))
    command.interrupt()
    output = command.end(130)
    expect("interrupted:" in output and "Traceback" not in output, f"it says {output[-2000:]}")
    expect(not temporary_files(folder), f"it leaves {temporary_files(folder)}")
    _check_end(work, Command(work.command(folder)), folder, expected)


def fill_disk(work: Work, folder: Path, expected: Any, seconds: float, size: int) -> str | None:
    """Run on a disk that is too small, then on a larger one."""
    with small_disk(folder, size) as mounted:
        out = folder / "out"
        if mounted:
            output = Command(work.command(out)).end(1, 2)
            expect("no space left to write" in output, f"it says {output[-2000:]}")
            enlarge(folder, 2**30)
        else:
            Command(work.command(out), largest_file=4096).end()
        expect(not temporary_files(folder), f"it leaves {temporary_files(folder)}")
        _check_end(work, Command(work.command(out)), out, expected)
    return None if mounted else "yes (files limited to 4 kB: no right to mount a small disk)"


def run_two(work: Work, folder: Path, expected: Any, seconds: float) -> None:
    """Two processes with one folder for results."""
    both = [Command(work.command(folder)) for _ in range(2)]
    for command in both:
        command.end(0)
    expect(work.result(folder) == expected, "the result is another one")


def kill_worker(work: Work, folder: Path, expected: Any, seconds: float) -> None:
    """Kill the process that loads images, as the kernel does where memory runs out."""
    command = Command(work.command(folder))
    command.wait_for(lambda: work.begun(folder))
    # one that has loaded everything is not missed: then the loader of the next condition
    while command.running:
        for number in command.children():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.005)
    output = command.end(2)
    expect("a process that loads images died" in output, f"it says {output[-2000:]}")
    _check_end(work, Command(work.command(folder)), folder, expected)


def read_unreadable(photos: Path, folder: Path) -> None:
    """A damaged file, an empty one, folders named like images, among inputs and among results."""
    given, out = folder / "in", folder / "out"
    given.mkdir(parents=True)
    for path in sorted(photos.iterdir())[:3]:
        shutil.copy(path, given)
    first, second, third = sorted(path.name for path in given.iterdir())
    content = (given / first).read_bytes()
    (given / first).write_bytes(content[: len(content) // 2])
    (given / "empty.png").touch()
    (given / "folder.png").mkdir()
    (out / second).mkdir(parents=True)
    output = Command(derain_work(given).command(out)).end(1)
    for name in (first, "empty.png", second):
        expect(f"{name}: " in output, f"nothing is said of {name}: {output[-2000:]}")
    expect(set(digests(out)) == {third}, f"it writes {sorted(digests(out))}")


def run_out_of_memory(backend: str, file: Path) -> str:
    """Less and less memory for a large image: the right result, or an error.

    With torch some of these sizes must lead to tiles; other runtimes keep memory after a failure,
    so that a process with a fixed limit may be left with too little for tiles.
    """
    torch.save(None, file)
    run(["-c", _OUT_OF_MEMORY, backend, "0", str(file)])
    ended = []
    for megabytes in (450, 400, 350, 320, 290, 200):
        output = Command(["-c", _OUT_OF_MEMORY, backend, str(megabytes), str(file)]).end()
        tiles = "tiles: [None, " in output
        expect(
            "difference: True" in output or "refused: " in output,
            f"with {megabytes} MB: {output[-2000:]}",
        )
        ended.append("refused" if "refused: " in output else "tiles" if tiles else "whole")
    expect(backend != "torch" or "tiles" in ended, f"no tiles: {', '.join(ended)}")
    return "yes: " + ", ".join(ended)


def _check_end(work: Work, command: Command, out: Path, expected: Any) -> None:
    """A run must end well, and with the result of an undisturbed one."""
    command.end(0)
    expect(work.result(out) == expected, "the result is not that of an undisturbed run")
