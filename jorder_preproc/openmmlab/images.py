"""Images of OpenMMLab pipelines and batches: BGR, 0 to 255, 8-bit or float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def change_array(image: NDArray[Any], change: Callable[[Tensor], Tensor]) -> NDArray[Any]:
    """`change_tensor` for a pipeline's image.

    Args:
        image: uint8 or float in 0 to 255, BGR (H, W, 3), or grey (H, W) or (H, W, 1).
        change: see `change_tensor`.

    Raises:
        TypeError: not one array, or another dtype.
        ValueError: floats outside 0 to 255, or another shape.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"results['img'] must be one NumPy array, got {type(image).__name__}; "
            "put the transform right behind the image loader"
        )
    # a copy: arrays may be read-only or flipped, tensors cannot
    copied = np.array(np.atleast_3d(image), image.dtype.newbyteorder("="), order="C")
    planes = torch.from_numpy(copied).permute(2, 0, 1)
    changed = change_tensor(planes[None], change)[0].permute(1, 2, 0)
    return np.ascontiguousarray(changed.reshape(image.shape).numpy(), image.dtype)


def change_tensor(images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function of RGB images to a batch before its normalisation.

    Args:
        images: uint8 or float in 0 to 255, BGR (N, 3, H, W) or grey (N, 1, H, W).
        change: from and to tensors as in `jorder_preproc.images`.

    Returns:
        A new tensor; pixels that `change` does not change are bit-identical.

    Raises:
        TypeError: another dtype.
        ValueError: floats outside 0 to 255, or another shape.
    """
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(
            f"images must be uint8 or float in 0 to 255, got {images.dtype}; convert them first, "
            "for example with LoadImageFromFile(color_type='color')"
        )
    colour = images.shape[1] == 3
    given = images.flip(1) if colour else images
    if given.is_floating_point():
        low, high = map(float, given.aminmax()) if len(given) else (0.0, 0.0)
        if not (low >= 0 and high <= 255):  # also catches NaN
            raise ValueError(
                f"float images must be finite and in 0 to 255, got values from {low:g} to "
                f"{high:g}; put JorderDerain right behind the image loader, before anything that "
                "normalises or distorts colours"
            )
        scaled = given / 255
        changed = change(scaled)
        result = torch.where(changed == scaled, given, changed * 255)
    else:
        result = change(given)
    return result.flip(1) if colour else result
