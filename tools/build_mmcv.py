"""Install mmcv with its compiled ops (CPU) in two minutes on two cores instead of fifteen.

    python tools/build_mmcv.py [--quick] [--original]

Installs into the environment of the Python that runs it, which must have torch. Does nothing
where the ops of an installed mmcv work. For ops on a GPU, build mmcv as its documentation says.

A stock build spends nearly all its time parsing torch's headers, once for each of 78 sources.
Here the sources are merged into six first. If that fails, the sources are built as they are, or,
with `--quick`, not at all. `--original` takes OpenMMLab's own mmcv in place of the maintained one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

REQUIREMENT = "onedl-mmcv==2.3.6"
ORIGINAL = "mmcv==2.1.0"
BUILD_TOOLS = ("ninja", "wheel", "setuptools<81", "packaging", "psutil")
# without NDEBUG a faulty assert aborts in pixel_group
FLAGS = "-O1 -g0 -w -DNDEBUG -fwrapv"
CPU_UNITS = 4
# these define helpers of the same names: at most one per merged source
APART = ("bezier_align", "roi_align", "roi_align_rotated", "rotated_feature_align")
# defines the macros min and max: the last of its merged source
LAST = "psamask"
# an op that must run, with its known answer: the second box overlaps the first
CHECK = """
import torch
from mmcv.ops import nms
boxes = torch.tensor([[0., 0., 10., 10.], [0., 0., 10., 9.], [20., 20., 30., 30.]])
kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1]
assert kept.tolist() == [0, 2], kept
"""


def main() -> int:
    """Build and install; returns the exit code."""
    parser = argparse.ArgumentParser(description="Install mmcv with its compiled ops (CPU).")
    parser.add_argument("--quick", action="store_true", help="give up rather than build slowly")
    parser.add_argument("--original", action="store_true", help=f"{ORIGINAL}, not {REQUIREMENT}")
    args = parser.parse_args()
    requirement = ORIGINAL if args.original else REQUIREMENT
    if importlib.util.find_spec("torch") is None:
        print("error: mmcv is built against torch, which is not installed; install it first")
        return 2
    if ops_work():
        print("mmcv: its ops work already")
        return 0
    pip("install", *BUILD_TOOLS)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mmcv-") as folder:
        archive = download(requirement, Path(folder))
        merged = unpack(archive, Path(folder) / "merged")
        merge_sources(merged / "mmcv/ops/csrc/pytorch")
        if not build(merged):
            if args.quick:
                print("error: the build of mmcv with merged sources failed; leave --quick out")
                return 1
            print("mmcv: the build with merged sources failed; now the stock build, which is slow")
            if not build(unpack(archive, Path(folder) / "stock")):
                print(f"error: {requirement} could not be built; see the compiler's messages above")
                return 1
    print(f"mmcv: installed with working ops in {time.monotonic() - start:.0f} s")
    return 0


def pip(*arguments: str) -> None:
    """Run pip for this Python; raises where it fails."""
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)


def download(requirement: str, folder: Path) -> Path:
    """Fetch the source archive of a package."""
    # an isolated build environment would install torch again
    pip(
        "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
        "--dest", str(folder), requirement,
    )  # fmt: skip
    return next(folder.glob("*.tar.gz"))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the archive into a new folder and return the source tree."""
    # Python 3.10.11, 3.11.3 and before have no filters
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **safe)
    return next(folder.iterdir())


def merge_sources(folder: Path) -> None:
    """Turn the sources in `folder` and `folder/cpu` into six, in place."""
    rest = (path for path in sorted(folder.glob("*.cpp")) if path.stem != "pybind")
    write_unit(folder / "merged.cpp", rest)
    sources = sorted((folder / "cpu").glob("*.cpp"), key=lambda path: path.stem == LAST)
    together = [path for path in sources if path.stem not in APART]
    apart = [path for path in sources if path.stem in APART]
    for index in range(CPU_UNITS):
        unit = apart[index::CPU_UNITS] + together[index::CPU_UNITS]
        write_unit(folder / "cpu" / f"merged_{index}.cpp", unit)


def write_unit(unit: Path, sources: Iterable[Path]) -> None:
    """Write a source that includes others, which are renamed so that only it is compiled."""
    included = [path.rename(path.with_suffix(".inc")) for path in sources]
    unit.write_text("".join(f'#include "{path.name}"\n' for path in included))


def build(tree: Path) -> bool:
    """Build and install a source tree; True if its ops then work."""
    environment = {
        # ninja must be on the path
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "CFLAGS": FLAGS,
        "CXXFLAGS": FLAGS,
        "MAX_JOBS": os.environ.get("MAX_JOBS", str(os.cpu_count() or 1)),
        "CUDA_VISIBLE_DEVICES": "",  # with a visible GPU mmcv needs the CUDA compiler
    }
    # in an isolated environment, without torch, pip would silently build no ops
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", str(tree)]
    return subprocess.run(command, env=environment).returncode == 0 and ops_work()


def ops_work() -> bool:
    """True if mmcv is installed with ops that run."""
    if importlib.util.find_spec("mmcv") is None:
        # for this process to find it once it is installed
        importlib.invalidate_caches()
        return False
    result = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True)
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:] or ["it crashed"]
        print(f"mmcv is installed, but its ops do not work: {last[0]}")
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
