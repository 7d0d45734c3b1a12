"""Clean photographs: those of a user, or six that come with scikit-image and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jorder_preproc.batch import plan_jobs
from jorder_preproc.errors import UserError
from jorder_preproc.image_files import read_rgb
from jorder_preproc.images import pixels_to_float

Loader = Callable[[], Tensor]
"""Loads a photograph: float RGB (3, H, W), in [0, 1]."""


def find_photographs(photos: Path, out: Path) -> dict[str, Loader]:
    """Loaders of the photographs in a folder and its sub-folders, by their relative paths, sorted.

    Args:
        photos: the folder, or one image.
        out: output folder; images there are left out.
    """
    jobs = plan_jobs([str(photos)], out, {})
    return {job.name: partial(read_rgb, job.source) for job in jobs}


def built_in_photographs() -> dict[str, Loader]:
    """Loaders of six photographs inside scikit-image and scikit-learn, not used in training."""
    try:
        import skimage.data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise UserError(
            f"the built-in photographs need scikit-image and scikit-learn ({error}); "
            "pip install --editable '.[demo]', or give a folder of photographs"
        ) from error
    names = ("astronaut", "coffee", "chelsea", "rocket")
    pixels: dict[str, Callable[[], np.ndarray]] = {
        **{name: getattr(skimage.data, name) for name in names},
        **{name: partial(load_sample_image, f"{name}.jpg") for name in ("china", "flower")},
    }
    return {name: partial(_decode, load) for name, load in pixels.items()}


def _decode(load: Callable[[], np.ndarray]) -> Tensor:
    return pixels_to_float(torch.from_numpy(np.array(load())).permute(2, 0, 1))
