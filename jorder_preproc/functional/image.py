"""Deraining and rain on images of any type: PIL images, tensors and NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jorder_preproc.functional.derain import Deveil, Dry, derain
from jorder_preproc.images import from_frames, to_frames
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.rain.presets import RainPreset
from jorder_preproc.rain.synthesize import synthesize_rain


def derain_image(
    model: Jorder,
    image: Any,
    *,
    tile: int | None = None,
    deveil: Deveil = False,
    deveil_model: DeveilNetwork | None = None,
    dry: Dry = "leave",
) -> Any:
    """Derain an image of any type. The tensor form, which also gives S and R, is `derain`.

    Args:
        model: what `load_model` or `build_model` returns.
        image: an image, or frames, each of which is derained by itself; see
            `jorder_preproc.images`.
        tile, deveil, deveil_model, dry: see `derain`.

    Returns:
        B, in the type of `image`.

    Raises:
        TypeError, ValueError: see `jorder_preproc.images.to_frames` and `derain`.
    """
    frames = to_frames(image)
    derained = derain(model, frames, tile=tile, deveil=deveil, deveil_model=deveil_model, dry=dry)
    return from_frames(derained.background, image)


def derain_bgr(model: Jorder, image: NDArray[Any], **options: Any) -> NDArray[Any]:
    """Derain an image as OpenCV has it.

    Args:
        model: see `derain_image`.
        image: uint8 BGR (H, W, 3), as `cv2.imread` and `cv2.VideoCapture` return them.
        **options: of `derain_image`.

    Returns:
        B, like `image`.

    Raises:
        TypeError: another type or dtype, or an unknown option.
        ValueError: another shape; see also `derain`.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        what = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(
            f"image must be a uint8 array, got {what}; derain_image takes RGB of other types"
        )
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be BGR (H, W, 3), got {image.shape}; "
            "read files with cv2.imread(path, cv2.IMREAD_COLOR)"
        )
    return np.ascontiguousarray(derain_image(model, image[..., ::-1], **options)[..., ::-1])


def rain_image(
    image: Any,
    preset: str | RainPreset = "heavy",
    seed: int = 0,
    image_id: str | int | None = None,
) -> Any:
    """Put rain on an image of any type (Eq. 3). The tensor form, which also gives S, R, alpha
    and A, is `synthesize_rain`.

    The rain depends on the seed and the image id alone: it is the same on a PIL image, a
    tensor and an array of one image, whatever decoded them.

    Args:
        image: a clean image, or frames; see `jorder_preproc.images`.
        preset, seed: see `synthesize_rain`.
        image_id: see `synthesize_rain`. The first of several frames has this id, those behind
            it `ID#1`, `ID#2` and so on; without an id each has the digest of its own pixels.

    Returns:
        O, in the type of `image`.

    Raises:
        TypeError, ValueError: see `jorder_preproc.images.to_frames` and `synthesize_rain`.
    """
    frames = to_frames(image)
    precise = torch.promote_types(frames.dtype, torch.float32)
    rainy = torch.empty(frames.shape, dtype=precise, device="cpu")
    for number, (frame, result) in enumerate(zip(frames, rainy, strict=True)):
        name = f"{image_id}#{number}" if number and image_id is not None else image_id
        result.copy_(synthesize_rain(frame.to("cpu", precise), preset, seed, name).rainy)
    return from_frames(rainy, image)
