"""Pictures of any type as float RGB frames, and back as they came.

One table of what is accepted, for everything that changes pictures:

| type | shapes | dtypes or modes |
|---|---|---|
| PIL image | | 1, L, LA, I;16, P, RGB, RGBA, CMYK |
| tensor, plain or of `tv_tensors` | (..., C, H, W), C = 1 or 3 | uint8, uint16, float |
| NumPy array | (H, W), (..., H, W, C), C = 1 or 3, RGB order | uint8, uint16, float |

Floats are in [0, 1]. Grey pictures become three equal channels and come back as the mean
of the three. Pixels that did not change come back bit-identical in every type.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

_PEAKS = {torch.uint8: 255, torch.uint16: 65535}


class Frames(NamedTuple):
    """A picture, decoded.

    Attributes:
        rgb: float (N, 3, H, W); in [0, 1] for integer pixels, as given for floats.
        encode: turns frames shaped like `rgb`, in [0, 1], into the type, dtype, mode, size
            and device of the picture that was decoded.
    """

    rgb: Tensor
    encode: Callable[[Tensor], Any]


def decode(image: Any) -> Frames:
    """Float RGB frames of a picture, and the way back.

    Args:
        image: see the table of this module.

    Raises:
        TypeError: a type, dtype or PIL mode that is not in the table.
        ValueError: a shape that is not in the table, or a PIL file of several frames.
    """
    if isinstance(image, Image.Image):
        return _decode_pil(image)
    if isinstance(image, Tensor):
        return _decode_tensor(image)
    if isinstance(image, np.ndarray):
        return _decode_array(image)
    raise TypeError(
        f"expected a PIL image, a tensor or a NumPy array, got {type(image).__name__}; "
        "open files with PIL.Image.open"
    )


def check_image(image: Tensor) -> None:
    """Raise unless `image` is a float tensor (3, H, W) or (N, 3, H, W) in [0, 1].

    Raises:
        TypeError: not a tensor, or not float.
        ValueError: wrong shape, values outside [0, 1], or NaN.
    """
    if not isinstance(image, Tensor):
        raise TypeError(
            f"image must be a float tensor, got {type(image).__name__}; "
            "use jorder_preproc.JorderDerain for PIL images and NumPy arrays"
        )
    if not image.is_floating_point():
        raise TypeError(
            f"image must be float in [0, 1], got {image.dtype}; divide 8-bit pixels by 255, "
            "or use jorder_preproc.JorderDerain, which takes them"
        )
    shape = tuple(image.shape)
    if image.ndim not in (3, 4) or shape[-3] != 3 or 0 in shape[-2:]:
        raise ValueError(
            f"image must be RGB (3, H, W) or (N, 3, H, W) with H, W >= 1, got {shape}; "
            "repeat a grey channel three times, drop an alpha channel"
        )
    if image.numel() == 0:
        return
    low, high = (float(value) for value in image.detach().aminmax())
    if not (low >= 0 and high <= 1):  # also catches NaN
        raise ValueError(
            f"image must be finite and in [0, 1], got values from {low:g} to {high:g}; "
            "divide 8-bit pixels by 255, undo a normalisation, or clamp"
        )


def pixels_to_float(pixels: Tensor) -> Tensor:
    """uint8 or uint16 pixels of any shape as float32 in [0, 1]; floats as they are.

    Raises:
        TypeError: another dtype.
    """
    if pixels.is_floating_point():
        return pixels
    return pixels.to(torch.float32) / _peak(pixels.dtype)


def float_to_pixels(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of `pixels_to_float`, rounded to the nearest step of `dtype`.

    Raises:
        TypeError: `dtype` is neither uint8, uint16 nor float.
    """
    if dtype.is_floating_point:
        return values.to(dtype)
    return (values * _peak(dtype)).round().to(dtype)


def _peak(dtype: torch.dtype) -> int:
    if dtype not in _PEAKS:
        raise TypeError(
            f"pixels must be uint8, uint16 or float in [0, 1], got {dtype}; convert them first, "
            "for example with image.to(torch.uint8)"
        )
    return _PEAKS[dtype]


def _decode_tensor(image: Tensor) -> Frames:
    shape = tuple(image.shape)
    if len(shape) < 3 or shape[-3] not in (1, 3):
        raise ValueError(
            f"a tensor picture must be (..., C, H, W) with C = 1 or 3, got {shape}; "
            "move channels to the front and drop an alpha channel first"
        )
    plain = image.detach().as_subclass(Tensor)
    frames = _decode_planes(plain.reshape(math.prod(shape[:-3]), *shape[-3:]))

    def encode(rgb: Tensor) -> Tensor:
        pixels = frames.encode(rgb).reshape(shape)
        wrapped = isinstance(image, tv_tensors.TVTensor)
        return tv_tensors.wrap(pixels, like=image) if wrapped else pixels

    return Frames(frames.rgb, encode)


def _decode_array(image: NDArray[Any]) -> Frames:
    shape = image.shape
    if image.ndim < 2 or (image.ndim > 2 and shape[-1] not in (1, 3)):
        raise ValueError(
            f"a NumPy picture must be (H, W) or (..., H, W, C) with C = 1 or 3, got {shape}; "
            "move channels to the end and drop an alpha channel first"
        )
    channels_last = image[..., None] if image.ndim == 2 else image
    native = np.ascontiguousarray(channels_last, image.dtype.newbyteorder("="))
    if native.dtype.kind not in "uf" or native.dtype.itemsize > 8:
        raise TypeError(
            f"pixels must be uint8, uint16 or float in [0, 1], got {image.dtype}; "
            "convert them first, for example with image.astype(np.uint8)"
        )
    # a copy where the array is read-only, which tensors cannot be
    pixels = torch.from_numpy(native if native.flags.writeable else native.copy())
    count = math.prod(native.shape[:-3])
    frames = _decode_planes(pixels.reshape(count, *native.shape[-3:]).permute(0, 3, 1, 2))

    def encode(rgb: Tensor) -> NDArray[Any]:
        planes = frames.encode(rgb).permute(0, 2, 3, 1).cpu().numpy()
        return np.ascontiguousarray(planes.reshape(shape), image.dtype)

    return Frames(frames.rgb, encode)


def _decode_planes(planes: Tensor) -> Frames:
    """Frames of a tensor (N, 1 or 3, H, W)."""
    values = pixels_to_float(planes)
    if planes.shape[1] == 3:
        return Frames(values, lambda rgb: float_to_pixels(rgb.to(planes.device), planes.dtype))

    def encode(rgb: Tensor) -> Tensor:
        # the mean of the three, written so that equal channels give back the grey exactly
        change = (rgb.to(values) - values).mean(1, keepdim=True)
        return float_to_pixels((values + change).clamp(0, 1), planes.dtype)

    return Frames(values.expand(-1, 3, -1, -1), encode)


_PIL_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK")


def _decode_pil(image: Image.Image) -> Frames:
    if image.mode not in _PIL_MODES:
        raise TypeError(
            f"a PIL picture must have mode {', '.join(_PIL_MODES)}, got {image.mode}; "
            "use image.convert('RGB')"
        )
    # camera files (MPO) hold previews after the picture proper
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ValueError(
            f"expected one picture, got a {image.format} file of several frames; pass them one "
            "by one: [frame.copy() for frame in PIL.ImageSequence.Iterator(image)]"
        )
    grey = image.mode in ("1", "L", "LA", "I;16")
    if grey:
        opaque = np.asarray(image if image.mode in ("L", "I;16") else image.convert("L"))
    else:
        # by way of RGBA, since Pillow warns when it drops the opacity of a palette
        opaque = np.asarray(image.convert("RGBA" if image.mode == "P" else "RGB"))[..., :3]
    frames = _decode_array(opaque)

    def encode(rgb: Tensor) -> Image.Image:
        pixels = frames.encode(rgb)
        encoded = Image.fromarray(pixels)
        if image.mode == "1":
            encoded = Image.fromarray(pixels > 127)
        elif image.mode in ("LA", "RGBA"):
            encoded.putalpha(image.getchannel("A"))
        elif image.mode in ("P", "CMYK"):
            changed = (pixels != opaque).any(-1)
            recode = _nearest_in_palette if image.mode == "P" else _rgb_to_cmyk
            codes = np.array(image)
            codes[changed] = recode(image, pixels, changed)
            encoded = image.copy()
            encoded.frombytes(codes.tobytes())
        encoded.info = dict(image.info)
        return encoded

    return Frames(frames.rgb, encode)


def _rgb_to_cmyk(
    image: Image.Image, pixels: NDArray[np.uint8], changed: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).convert("CMYK"))[changed]


def _nearest_in_palette(
    image: Image.Image, pixels: NDArray[np.uint8], changed: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Palette entries nearest to the changed pixels, among those of the same opacity."""
    # a picture of all entries in order, converted, shows the colours with their opacity
    swatches = image.resize((256, 1))
    swatches.frombytes(bytes(range(256)))
    used = max(len(image.getpalette() or []) // 3, int(np.asarray(image).max()) + 1)
    entries = torch.from_numpy(np.array(swatches.convert("RGBA"))[0, :used]).float()
    opacity = np.asarray(image.convert("RGBA"))[changed][:, 3:]
    wanted = torch.from_numpy(np.concatenate([pixels[changed], opacity], 1)).float()
    # no difference of colour outweighs one of opacity, and the pixel's own entry has its own
    weights = torch.tensor([1.0, 1.0, 1.0, 1000.0])
    nearest = [
        torch.cdist(
            part * weights, entries * weights, compute_mode="donot_use_mm_for_euclid_dist"
        ).argmin(1)
        for part in wanted.split(1 << 16)
    ]
    return torch.cat(nearest).to(torch.uint8).numpy() if nearest else np.empty(0, np.uint8)
