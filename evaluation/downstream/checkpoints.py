"""Weights of a model from a file, without running code in it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from jorder_preproc.errors import MissingFileError, UserError


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Named tensors of a checkpoint: safetensors, or a pickle of PyTorch.

    A pickle may hold them under `state_dict` or `model`, as OpenMMLab and others write them;
    the prefix `module.` of wrapped models is dropped. Everything else in it, such as MMEngine's
    logs, is ignored, and no object but a tensor is created.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, or not readable without running its code.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no checkpoint {path}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(
                f"{path} is no safetensors file ({error}); download it again"
            ) from error
    try:
        content = _load_plain(path)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as plain tensors ({error}); load it where you trust it and "
            "save its state_dict alone: torch.save(checkpoint['state_dict'], 'plain.pth')"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path} holds no state_dict: expected named tensors")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


class _Inert:
    """Stand-in for objects of a checkpoint that are not plain data."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _load_plain(path: Path) -> Any:
    """`torch.load` with `weights_only`, and stand-ins for the classes that it refuses."""
    stand_ins: list[Any] = []
    if zipfile.is_zipfile(path):  # files before torch 1.6 cannot be searched
        for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
            module, _, last = name.rpartition(".")
            stand_ins.append(type(last, (_Inert,), {"__module__": module}))
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors, in the order of their names, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(plain.numpy().tobytes())
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
