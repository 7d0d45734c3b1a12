"""Image ids, from which the rain on an image is drawn.

The rain is a function of the seed and of the image's id alone. The id is the image's path
below the data root, with `/`, so that another place, machine or decoder gives the same rain.
Images without a path have a digest of their pixels as id; since JPEG decoders differ in the
last bit of some pixels, their rain may differ between decoders.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def image_name(
    path: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None
) -> str:
    """The id of an image file: its path below the data root, with `/`.

    Args:
        path: of the file, which need not exist.
        data_root: folder of the data set.

    Returns:
        The path; the file name alone without `data_root`, or if the file is not below it.
    """
    # links are not resolved: their targets may be anywhere
    absolute = Path(os.path.abspath(path))
    root = Path(os.path.abspath(data_root)) if data_root else absolute.parent
    inside = absolute.relative_to(root) if root in absolute.parents else Path(absolute.name)
    # some file systems store accents as separate characters
    return unicodedata.normalize("NFC", inside.as_posix())


def check_image_id(image_id: object) -> str | int:
    """The image id; TypeError unless it is text or a whole number."""
    if not isinstance(image_id, (str, Integral)):
        raise TypeError(
            f"image_id must be text or a whole number, got {type(image_id).__name__}; the id of "
            "a file is image_name(path, data_root), of jorder_preproc.rain"
        )
    return str(image_id) if isinstance(image_id, str) else int(image_id)


def rain_generator(seed: int, image_id: str | int) -> np.random.Generator:
    """The random generator for one image of one seed; see `check_image_id`."""
    image_id = check_image_id(image_id)
    # file names may hold bytes that are not text
    name = f"{type(image_id).__name__}:{image_id}".encode(errors="surrogateescape")
    digest = hashlib.blake2b(name, digest_size=16)
    return np.random.default_rng([seed, int.from_bytes(digest.digest(), "little")])


def pixel_digest(image: Tensor) -> str:
    """Digest of the RGB pixels, rounded to 8 bits, of a float (3, H, W) image in [0, 1]."""
    pixels = (image.detach().cpu() * 255).round().to(torch.uint8)
    content = pixels.permute(1, 2, 0).contiguous().numpy().tobytes()
    return hashlib.blake2b(repr(tuple(pixels.shape)).encode() + content, digest_size=16).hexdigest()
