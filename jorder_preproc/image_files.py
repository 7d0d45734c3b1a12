"""Read image files as upright RGB pixels, and write them back as files like the originals.

Kept: format, 8 or 16 bits, grey or colour, opacity, ICC profile, EXIF and resolution. The
orientation of the EXIF data is applied to the pixels, so that rain falls downwards for the
network too, and its tag is set to 1: the result displays like the input. Not kept: palettes
(written as colour), ink (CMYK becomes RGB), thumbnails, which would show the rain, and of a
TIFF's tags all but title, camera, software, date, artist and copyright.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_png

from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.images import pixels_to_float

MAX_PIXELS = 256_000_000
"""Largest image read, in place of Pillow's limit: 100 megapixels take less than 2 GB of
memory; beyond the limit a small file could fill that of an ordinary machine."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"})
"""Suffixes of image files in folders; a file named by itself may have any suffix."""

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
"""Formats read, by Pillow's names: of others, some decoders start other programs."""

_SAVE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
_ROWS_AT_ONCE = 256
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # orientations that exchange width and height
# title, make, model, software, date and time, artist, copyright
_TIFF_DESCRIPTIONS = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298})
_TIFF_SIZE = (0x0100, 0x0101)
_BITS_PER_SAMPLE = 0x0102

_limit_lock = threading.Lock()
_lifted_limits: list[int | None] = []
"""Pillow's limit of pixels, once for each thread that has lifted it."""

Pixels = NDArray[Any]


class ImageFileError(UserError):
    """An image file that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class ImageFile:
    """A decoded image, and what is needed to write its file again.

    Attributes:
        pixels: uint8 or uint16 RGB (H, W, 3), upright.
        alpha: opacity, (H, W), in the dtype of the pixels; None where there is none.
        grey: the file has no colour; the three channels are equal.
        format: as Pillow names it.
        metadata: `icc_profile`, `exif` and `dpi`, as far as the file has them, and whether a
            WebP file is `lossless`.
        turned: the file's pixels are not upright; its EXIF data say so.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    format: str
    metadata: Mapping[str, Any]
    turned: bool = False


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Decode a JPEG, PNG, TIFF, WebP, BMP or GIF file of one image.

    Raises:
        ImageFileError: not such a file, damaged, larger than `MAX_PIXELS`, of several
            images, or of a kind that would lose precision.
        OSError: the file cannot be opened.
    """
    Image.init()  # or `formats` finds only Pillow's most common ones
    path = Path(path)
    with path.open("rb") as file:
        try:
            with _own_pixel_limit(), Image.open(file, formats=FORMATS) as image:
                _check(image)
                return _decode(image, path)
        except ImageFileError:
            raise
        except UnidentifiedImageError as error:
            raise ImageFileError(
                "not an image, or its first bytes are damaged; expected a JPEG, PNG, TIFF, "
                "WebP, BMP or GIF file"
            ) from error
        except Exception as error:  # damaged files fail in any way in their decoders
            raise ImageFileError(f"damaged image ({error}); replace or repair the file") from error


def read_rgb(path: str | os.PathLike[str]) -> Tensor:
    """The upright pixels of an image file, float RGB (3, H, W), in [0, 1]; see `read_image`.

    Raises:
        ImageFileError: the file cannot be used; the message names it.
        OSError: the file cannot be opened.
    """
    try:
        pixels = read_image(path).pixels
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error
    return pixels_to_float(torch.from_numpy(pixels).permute(2, 0, 1))


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height, px, of what `read_image` gives; ImageFileError, OSError as there."""
    Image.init()  # as in read_image
    with Path(path).open("rb") as file:
        try:
            with _own_pixel_limit(), Image.open(file, formats=FORMATS) as image:
                # Pillow turns the size of a TIFF in some versions
                tags = getattr(image, "tag_v2", None)
                width, height = image.size if tags is None else (tags[tag] for tag in _TIFF_SIZE)
                turned = image.getexif().get(_ORIENTATION) in _TURNED
        except Exception as error:  # damaged files fail in any way in their decoders
            raise ImageFileError(str(error)) from error
    return (height, width) if turned else (width, height)


def is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """Image files of a folder, or also of its sub-folders that are not hidden, sorted by path.

    Links to folders are followed. None for a folder that does not exist.

    Raises:
        UserError: a folder that cannot be read.
    """
    return sorted(_find_images(folder, recursive, frozenset())) if folder.is_dir() else []


def _find_images(
    folder: Path, recursive: bool, around: frozenset[tuple[int, int]]
) -> Iterator[Path]:
    try:
        about, paths = folder.stat(), list(folder.iterdir())
    except PermissionError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
    own = (about.st_dev, about.st_ino)
    if own in around:  # a link back to a folder that this one lies in
        return
    for path in paths:
        if is_image(path):
            yield path
        elif recursive and not path.name.startswith(".") and path.is_dir():
            yield from _find_images(path, True, around | {own})


def write_image(path: str | os.PathLike[str], image: ImageFile) -> None:
    """Write an image, whole or not at all; JPEG and lossy WebP with quality 95.

    Args:
        path: where to; its suffix does not decide the format.
        image: what `read_image` returned, usually with other pixels of the same shape and
            dtype: `dataclasses.replace(image, pixels=...)`.

    Raises:
        OSError: the file cannot be written.
    """
    planes = _grey(image.pixels) if image.grey else image.pixels
    with atomic_path(path) as temporary:
        if planes.dtype == np.uint16 and image.format == "PNG":
            _write_png16(temporary, planes, image.alpha, image.metadata)
            return
        encoded = Image.fromarray(np.ascontiguousarray(planes))
        if image.alpha is not None:
            encoded.putalpha(Image.fromarray(image.alpha))
        options = {**_SAVE_OPTIONS.get(image.format, {}), **image.metadata}
        # in memory first: where the disk is full, TIFF's encoder does not say so
        content = BytesIO()
        encoded.save(content, image.format, **options)
        temporary.write_bytes(content.getbuffer())


def write_png(path: str | os.PathLike[str], pixels: Pixels) -> None:
    """Write uint8 or uint16 pixels, (H, W) or RGB (H, W, 3), as `write_image` does."""
    with atomic_path(path) as temporary:
        if pixels.dtype == np.uint16:
            _write_png16(temporary, pixels, None, {})
        else:
            Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, "PNG")


@contextmanager
def _own_pixel_limit() -> Iterator[None]:
    """Lift Pillow's limit, which is process-wide; `_check` sets ours."""
    with _limit_lock:
        _lifted_limits.append(_lifted_limits[0] if _lifted_limits else Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _limit_lock:
            before = _lifted_limits.pop()
            if not _lifted_limits:
                Image.MAX_IMAGE_PIXELS = before


def _check(image: Image.Image) -> None:
    """Refuse what is too large or would not come back as it was."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageFileError(
            f"{image.width} x {image.height} pixels are more than "
            f"{MAX_PIXELS // 10**6} megapixels; cut the image into parts"
        )
    frames = getattr(image, "n_frames", 1)
    # the other frames of a camera's MPO file are previews of the first
    if frames > 1 and image.format != "MPO":
        raise ImageFileError(
            f"{frames} images in one {image.format} file (animated or multi-page); "
            "extract them first and pass them one by one"
        )
    if image.mode in ("I", "F"):
        raise ImageFileError(f"32-bit pixels (mode {image.mode}); save the image with 8 or 16 bits")
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    if max(bits) > 8 and image.mode not in _GREY_MODES:
        raise ImageFileError(f"{max(bits)}-bit colour TIFF; save the image as 16-bit PNG")


def _decode(image: Image.Image, path: Path) -> ImageFile:
    image.load()  # TIFF turns itself upright here
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    if image.format == "TIFF":  # without the tags of the layout of the file
        described = {tag: exif[tag] for tag in _TIFF_DESCRIPTIONS & exif.keys()}
        exif = Image.Exif()
        exif.update(described)
    metadata = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    if len(exif):
        if _ORIENTATION in exif:
            exif[_ORIENTATION] = 1
        metadata["exif"] = _encode_exif(exif)
    format = "JPEG" if image.format == "MPO" else str(image.format)
    if format == "WEBP" and _is_lossless_webp(path):
        metadata["lossless"] = True
    if format == "PNG" and np.fromfile(path, np.uint8, 25)[24] == 16:  # bits per sample
        transparent = image.info.get("transparency")
        image.close()  # Pillow cuts colour to 8 bits
        pixels, alpha, grey = _read_png16(path)
        if alpha is None and transparent is not None:  # one colour is
            seen = (pixels != np.array(transparent, np.uint16)).any(2)
            alpha = seen * np.uint16(65535)
    else:
        if image.mode == "CMYK":
            image = _ink_to_rgb(image, metadata.pop("icc_profile", None))
        grey = image.mode in _GREY_MODES
        pixels, alpha = _read_planes(image, grey)
    return ImageFile(
        pixels=np.ascontiguousarray(_upright(pixels, orientation)),
        alpha=None if alpha is None else np.ascontiguousarray(_upright(alpha, orientation)),
        grey=grey,
        format=format,
        metadata=metadata,
        turned=orientation in range(2, 9),
    )


def _encode_exif(exif: Image.Exif) -> bytes:
    """EXIF data as bytes, without tags whose values are not of their type."""
    try:
        return exif.tobytes()
    except Exception:  # as many kinds as there are wrong values
        sound = Image.Exif()
        for tag, value in exif.items():
            alone = Image.Exif()
            alone[tag] = value
            with suppress(Exception):
                alone.tobytes()
                sound[tag] = value
        return sound.tobytes()


def _is_lossless_webp(path: Path) -> bool:
    """Whether the pixels of a WebP file are in a chunk VP8L."""
    with path.open("rb") as file:
        file.seek(12)  # behind RIFF, size, WEBP
        while len(head := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            if kind in (b"VP8 ", b"VP8L"):
                return bool(kind == b"VP8L")
            file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _read_planes(image: Image.Image, grey: bool) -> tuple[Pixels, Pixels | None]:
    """Pixels and opacity, copied in strips: Pillow's own way needs twice the memory."""
    transparent = image.has_transparency_data
    if not image.mode.startswith("I;16"):
        mode = ("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")
        image = image if image.mode == mode else image.convert(mode)
    dtype = np.uint16 if image.mode.startswith("I;16") else np.uint8
    pixels = np.empty((image.height, image.width, 3), dtype)
    alpha = np.empty((image.height, image.width), dtype) if transparent else None
    for top in range(0, image.height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, image.height)
        strip = np.asarray(image.crop((0, top, image.width, bottom)))
        strip = strip.reshape(*strip.shape[:2], -1)
        pixels[top:bottom] = strip[..., :1] if grey else strip[..., :3]
        if alpha is not None:
            alpha[top:bottom] = strip[..., -1]
    return pixels, alpha


def _ink_to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK as sRGB, by its colour profile if it has one."""
    if profile is None:
        return image.convert("RGB")
    converted = ImageCms.profileToProfile(
        image, BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    if converted is None:
        raise ImageFileError("the colour profile does not fit; save the image as RGB")
    return converted


def _upright(plane: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation, 1-8; any other value is no orientation."""
    if orientation in _TURNED:
        plane = plane.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        plane = plane[::-1]
    if orientation in (2, 3, 6, 7):
        plane = plane[:, ::-1]
    return plane


def _grey(pixels: Pixels) -> Pixels:
    """Mean of the channels, rounded; three equal ones give their value exactly."""
    total = pixels.sum(2, dtype=np.uint32)
    total += 1
    total //= 3
    grey: Pixels = total.astype(pixels.dtype)
    return grey


def _read_png16(path: Path) -> tuple[Pixels, Pixels | None, bool]:
    """Pixels, opacity and whether it is grey, of a PNG of 16 bits."""
    content = torch.from_numpy(np.fromfile(path, np.uint8))
    planes = decode_png(content, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    channels = planes.shape[2]
    grey = channels < 3
    pixels = np.broadcast_to(planes[..., :1], (*planes.shape[:2], 3)) if grey else planes[..., :3]
    return pixels, planes[..., -1] if channels in (2, 4) else None, grey


def _write_png16(
    path: Path, pixels: Pixels, alpha: Pixels | None, metadata: Mapping[str, Any]
) -> None:
    """Write a PNG of 16 bits row by row (PNG specification, W3C): Pillow has none in colour."""
    height, width = pixels.shape[:2]
    colour, opacity = 2 * (pixels.ndim == 3), 4 * (alpha is not None)
    with path.open("wb") as file:

        def chunk(kind: bytes, content: bytes) -> None:
            checksum = zlib.crc32(kind + content)
            file.write(struct.pack(">I", len(content)) + kind + content)
            file.write(struct.pack(">I", checksum))

        file.write(b"\x89PNG\r\n\x1a\n")
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour + opacity, 0, 0, 0))
        if "icc_profile" in metadata:
            chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"]))
        if "dpi" in metadata:
            per_metre = (round(float(dpi) / 0.0254) for dpi in metadata["dpi"])
            chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
        if "exif" in metadata:
            chunk(b"eXIf", metadata["exif"].removeprefix(b"Exif\0\0"))
        deflate = zlib.compressobj()
        above: Any = np.uint8(0)
        for row in range(height):
            samples = pixels[row].reshape(width, -1)
            if alpha is not None:
                samples = np.column_stack([samples, alpha[row]])
            line = np.frombuffer(samples.astype(">u2").tobytes(), np.uint8)
            # filter 2: the difference from the line above, byte by byte
            content = deflate.compress(b"\2" + (line - above).tobytes())
            above = line
            if content:
                chunk(b"IDAT", content)
        chunk(b"IDAT", deflate.flush())
        chunk(b"IEND", b"")
