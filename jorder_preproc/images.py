"""Images of any type as float RGB frames, and back into the type they came in.

One table of what is accepted, by everything that changes images:

| type | shapes | dtypes or modes |
|---|---|---|
| PIL image | | L, LA, I;16 (of any byte order), RGB, RGBA |
| tensor, plain or of `tv_tensors` | (..., C, H, W), C = 1 or 3 | uint8, uint16, float |
| NumPy array | (H, W), (..., H, W, C), C = 1 or 3, RGB order | uint8, uint16, float |

Floats are in [0, 1]. Grey images become three equal channels and come back as the mean of
the three. Pixels that did not change come back bit-identical in every type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

_WHITE = {torch.uint8: 255, torch.uint16: 65535}
_PIL_MODES = ("L", "LA", "I;16", "I;16B", "I;16L", "RGB", "RGBA")


def to_frames(image: Any) -> Tensor:
    """The frames of an image, float RGB (N, 3, H, W); integer pixels are scaled to [0, 1].

    Args:
        image: see the table of this module.

    Raises:
        TypeError: a type, dtype or PIL mode that is not in the table.
        ValueError: a shape that is not in the table, or a PIL file of several frames.
    """
    planes = _planes(image)
    if planes.dtype not in _WHITE and not planes.is_floating_point():
        raise TypeError(
            f"pixels must be uint8, uint16 or float in [0, 1], got {planes.dtype}; convert them "
            "first, for example with image.to(torch.uint8)"
        )
    return pixels_to_float(planes).expand(-1, 3, -1, -1)


def from_frames(frames: Tensor, image: Any) -> Any:
    """Frames as an image of the type, dtype, PIL mode, size and device of another.

    Args:
        frames: float RGB (N, 3, H, W), in [0, 1].
        image: what `to_frames` gave frames of this shape for; opacity is taken from it.
    """
    planes = _planes(image)
    if planes.shape[1] == 1:
        # the mean of the three, written so that equal channels give back the grey exactly
        grey = pixels_to_float(planes)
        frames = (grey + (frames.to(grey) - grey).mean(1, keepdim=True)).clamp(0, 1)
    pixels = float_to_pixels(frames.to(planes.device), planes.dtype)
    if isinstance(image, Tensor):
        pixels = pixels.reshape(image.shape)
        wrapped = isinstance(image, tv_tensors.TVTensor)
        return tv_tensors.wrap(pixels, like=image) if wrapped else pixels
    array = pixels.permute(0, 2, 3, 1).cpu().numpy()
    if isinstance(image, np.ndarray):
        return np.ascontiguousarray(array.reshape(image.shape), image.dtype)
    array = array[0, ..., 0] if array.shape[-1] == 1 else array[0]
    result = Image.fromarray(np.ascontiguousarray(array))
    if image.mode in ("LA", "RGBA"):
        result.putalpha(image.getchannel("A"))
    result.info = dict(image.info)
    return result


def check_image(image: Tensor, *, batch: bool = True, integers: bool = False) -> None:
    """Raise unless `image` is a tensor (3, H, W) of floats in [0, 1].

    Args:
        image: what to check.
        batch: accept (N, 3, H, W) as well.
        integers: accept uint8 and uint16 as well.

    Raises:
        TypeError: not a tensor, or another dtype.
        ValueError: wrong shape, values outside [0, 1], or NaN.
    """
    if not isinstance(image, Tensor):
        raise TypeError(
            f"image must be a float tensor, got {type(image).__name__}; "
            "use jorder_preproc.JorderDerain for PIL images and NumPy arrays"
        )
    pixels = integers and image.dtype in _WHITE
    if not pixels and not image.is_floating_point():
        raise TypeError(
            f"image must be {'uint8, uint16 or ' if integers else ''}float in [0, 1], "
            f"got {image.dtype}; divide 8-bit pixels by 255"
        )
    shape = tuple(image.shape)
    if image.ndim not in ((3, 4) if batch else (3,)) or shape[-3] != 3 or 0 in shape[-2:]:
        raise ValueError(
            f"image must be RGB (3, H, W){' or (N, 3, H, W)' if batch else ''} with H, W >= 1, "
            f"got {shape}; repeat a grey channel three times, drop an alpha channel"
        )
    if pixels or image.numel() == 0:
        return
    low, high = image.detach().aminmax()
    if not (low >= 0 and high <= 1):  # also catches NaN
        raise ValueError(
            f"image must be finite and in [0, 1], got values from {low:g} to {high:g}; "
            "divide 8-bit pixels by 255, undo a normalisation, or clamp"
        )


def pixels_to_float(pixels: Tensor) -> Tensor:
    """uint8 or uint16 pixels of any shape as float32 in [0, 1]; floats as they are."""
    if pixels.is_floating_point():
        return pixels
    return pixels.to(torch.float32) / _WHITE[pixels.dtype]


def float_to_pixels(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of `pixels_to_float`, rounded to the nearest step of `dtype`."""
    if dtype.is_floating_point:
        return values.to(dtype)
    return (values * _WHITE[dtype]).round().to(dtype)


def _planes(image: Any) -> Tensor:
    """The pixels of an image as a tensor (N, 1 or 3, H, W), without opacity."""
    if isinstance(image, Tensor):
        if image.ndim < 3 or image.shape[-3] not in (1, 3):
            raise ValueError(
                f"a tensor must be (..., C, H, W) with C = 1 or 3, got {tuple(image.shape)}; "
                "move channels to the front and drop an alpha channel first"
            )
        plain = image.detach().as_subclass(Tensor)
        return plain.flatten(0, -4) if image.ndim > 3 else plain[None]
    if isinstance(image, Image.Image):
        # camera files (MPO) hold previews after the image itself
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise ValueError(
                f"expected one image, got a {image.format} file of several frames; pass them one "
                "by one: [frame.copy() for frame in PIL.ImageSequence.Iterator(image)]"
            )
        if image.mode not in _PIL_MODES:
            remedy = "use image.convert('RGB')"
            if image.mode in ("I", "F"):  # which convert cuts off at 255
                remedy = "scale its values to 8 or 16 bits, or pass them as a float array"
            raise TypeError(
                f"a PIL image must have mode {', '.join(_PIL_MODES)}, got {image.mode}; {remedy}"
            )
        array = np.asarray(image)
        array = array[..., :-1] if image.mode in ("LA", "RGBA") else array
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise TypeError(
            f"expected a PIL image, a tensor or a NumPy array, got {type(image).__name__}; "
            "open files with PIL.Image.open"
        )
    if array.ndim < 2 or (array.ndim > 2 and array.shape[-1] not in (1, 3)):
        raise ValueError(
            f"an array must be (H, W) or (..., H, W, C) with C = 1 or 3, got {array.shape}; "
            "move channels to the end and drop an alpha channel first"
        )
    if array.dtype.kind not in "uf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"pixels must be uint8, uint16 or float in [0, 1], got {array.dtype}; "
            "convert them first, for example with image.astype(np.uint8)"
        )
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if array.ndim == 2:
        array = array[..., None]
    # a copy where the array is read-only, which tensors cannot be
    pixels = torch.from_numpy(array if array.flags.writeable else array.copy())
    return (pixels.flatten(0, -4) if array.ndim > 3 else pixels[None]).permute(0, 3, 1, 2)
