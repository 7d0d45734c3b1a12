"""Weights of any host model from a file, without running code that lies in it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Named tensors of a checkpoint: safetensors, or a pickle of PyTorch, read as plain data.

    Within a pickle they are looked for under `state_dict` and `model`, as OpenMMLab and
    others write them; the prefix `module.` of wrapped models is dropped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no checkpoint, or a pickle with more than plain data in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as plain tensors ({error}); load it where you trust it and "
            "save its state_dict alone: torch.save(checkpoint['state_dict'], 'plain.pth')"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no state_dict: expected named tensors")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
