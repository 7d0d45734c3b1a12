"""What only a new process shows: peak memory, and the time until the first image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.io import write_png

from evaluation.speed.derainers import DEVEIL, Derainer, build, rainy_photographs
from jorder_preproc import JorderDerain

Shape = tuple[tuple[int, int], int]
"""Width and height of images, px, and their number."""

START_UP_STEPS = ("torch", "jorder_preproc", "construct", "first image", "second image")


def peak_memory(derainer: Derainer, shapes: Sequence[Shape], device: str = "cpu") -> list[int]:
    """Peak memory of deraining, bytes, on top of the network and the images.

    On the CPU the growth of the peak resident memory of a new process; on a GPU what PyTorch
    allocated there.

    Args:
        derainer: what to run.
        shapes: of the images, the smallest first: a process has one peak.
        device: where.
    """
    if not shapes:
        return []
    if device.startswith("cuda"):
        return [_gpu_peak(derainer, shape, device) for shape in shapes]
    module = "from evaluation.speed.processes import print_memory; print_memory()"
    return list(_run_python(module, {"derainer": derainer, "shapes": shapes}))


def print_memory() -> None:
    """Print the peak memory of this process; `peak_memory` runs it in a new one."""
    asked = json.loads(sys.argv[1])
    run = build(Derainer(*asked["derainer"]), "cpu")
    run(_noise((16, 16), 1))  # the runtime's own memory
    images = [_noise(tuple(size), batch) for size, batch in asked["shapes"]]
    before, peaks = _peak_bytes(), []
    for batch in images:
        run(batch)
        peaks.append(_peak_bytes() - before)
    print(json.dumps(peaks))


def start_up(derainer: Derainer, size: tuple[int, int], repeats: int) -> np.ndarray:
    """Seconds of the steps until the first image is derained, and of the second image.

    Args:
        derainer: what `JorderDerain` is built for.
        size: of the image, width and height, px.
        repeats: number of new processes.

    Returns:
        (repeats, steps): see `START_UP_STEPS`.

    Raises:
        UserError: `JorderDerain` refuses it.
    """
    options = transform_options(derainer)
    image = rainy_photographs(size, 1)[0]
    JorderDerain(**options)(image)  # raises here what each of the processes would raise
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rainy.png"
        write_png(image, str(file))
        asked = {"image": str(file), "options": options}
        return np.array([_run_python(_START_UP, asked) for _ in range(repeats)])


def transform_options(derainer: Derainer) -> dict[str, Any]:
    """Arguments of `JorderDerain`, so that it does what the derainer does."""
    name, backend, precision, _ = derainer
    options = {"backend": backend, "precision": precision, "dry": "derain"}
    return options | {"model": name.removesuffix(DEVEIL), "deveil": name.endswith(DEVEIL)}


_START_UP = """
import json, sys, time
asked = json.loads(sys.argv[1])
times = [time.perf_counter()]
import torch, torchvision
times.append(time.perf_counter())
import jorder_preproc
times.append(time.perf_counter())
transform = jorder_preproc.JorderDerain(**asked["options"])
times.append(time.perf_counter())
image = torchvision.io.read_image(asked["image"])
for _ in range(2):
    transform(image)
    times.append(time.perf_counter())
print(json.dumps([later - earlier for earlier, later in zip(times, times[1:])]))
"""


def _run_python(program: str, asked: object) -> Any:
    """What a program prints last, as JSON, in a new process; its argument is `asked`."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    child = subprocess.run(
        [sys.executable, "-c", program, json.dumps(asked)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(child.stdout.splitlines()[-1])


def _noise(size: tuple[int, int], count: int) -> torch.Tensor:
    """Images whose rain does not matter, since everything is derained."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, size[1], size[0])
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def _gpu_peak(derainer: Derainer, shape: Shape, device: str) -> int:
    run, images = build(derainer, device), _noise(*shape)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(images)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_bytes() -> int:
    if sys.platform == "darwin":
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux's ru_maxrss starts from that of the parent process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])
