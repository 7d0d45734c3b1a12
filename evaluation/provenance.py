"""Code, versions and machine that predictions come from."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size

import jorder_preproc

_PACKAGES = (
    *("jorder-preproc", "torch", "torchvision", "numpy", "pillow", "timm"),
    *("opencv-python", "opencv-python-headless", "onnx", "onnxruntime", "openvino"),
    *("onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "onedl-mmsegmentation"),
    *("mmengine", "mmcv", "mmdet", "mmsegmentation"),
)


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that predictions depend on."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def package_sha256() -> str:
    """SHA-256 of the source of `jorder_preproc`: its version alone misses edits of a checkout."""
    return _source_sha256(Path(jorder_preproc.__file__).parent.rglob("*.py"))


@cache
def prediction_sha256() -> str:
    """SHA-256 of the source of the modules that predictions depend on."""
    folder = Path(__file__).parent
    return _source_sha256(
        path
        for part in ("downstream", "datasets/layouts")
        for path in (folder / part).rglob("*.py")
        if path.stem not in ("protocol", "published_scores")  # work with predictions afterwards
    )


def module_sha256(name: str) -> str | None:
    """SHA-256 of the source of a module or package; None if there is none of that name."""
    with suppress(ImportError):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folders = map(Path, spec.submodule_search_locations)
            return _source_sha256(path for folder in folders for path in folder.rglob("*.py"))
        if spec is not None and spec.has_location:
            return _source_sha256([Path(str(spec.origin))])
    return None


def provenance() -> dict[str, Any]:
    """Versions and machine of this process, for what it predicts."""
    return {
        "versions": {"python": platform.python_version(), **package_versions()},
        "machine": {
            "system": platform.platform(),
            "device": torch.cuda.get_device_name() if get_device() == "cuda" else "CPU",
            "threads": torch.get_num_threads(),
            "processes": get_world_size(),
        },
    }


def _source_sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
