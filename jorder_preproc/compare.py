"""A page that compares images before and after deraining: `write_comparison`."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from jorder_preproc.atomic import atomic_path
from jorder_preproc.batch import ENDINGS
from jorder_preproc.errors import MissingFileError, UserError
from jorder_preproc.image_files import ImageFileError, Pixels, list_images, read_image

WEB = Path(__file__).parent / "web"
"""Style, script and page of the comparison, which other pages use as well."""

_MASK_COLOUR = (235, 0, 200)
_MASK_OPACITY = 130  # of 255


@dataclass(frozen=True)
class Pair:
    """An image before and after deraining.

    Attributes:
        name: path below its folder, with `/`.
        rainy, derained: image files.
        mask: `NAME_mask.png` beside the derained image, if it is there.
    """

    name: str
    rainy: Path
    derained: Path
    mask: Path | None


def find_pairs(rainy: Path, derained: Path) -> list[Pair]:
    """The images that two folders share, sorted by name.

    Partners have the same path below their folders; the suffix may differ if it leaves no
    doubt. Masks and streaks saved by `jorder` are no images of their own.

    Raises:
        ValueError: a folder does not exist, or they share no image.
    """
    for folder in (rainy, derained):
        if not folder.is_dir():
            raise MissingFileError(f"no folder {folder}; give one of images")
    before, after = _images(rainy), _images(derained)
    by_stem: dict[Path, list[Path]] = {}
    for relative in after:
        by_stem.setdefault(relative.with_suffix(""), []).append(relative)
    pairs = []
    for relative in before:
        found = by_stem.get(relative.with_suffix(""), [])
        if relative not in found and len(found) != 1:
            continue
        partner = derained / (relative if relative in found else found[0])
        mask = partner.with_name(partner.stem + ENDINGS["mask"])
        files = (rainy / relative, partner, mask if mask.is_file() else None)
        pairs.append(Pair(relative.as_posix(), *files))
    if not pairs:
        raise UserError(
            f"no image of {rainy} ({len(before)} images) has one of the same name in {derained} "
            f"({len(after)}); give the folder that was derained and that of the results"
        )
    return pairs


def write_comparison(pairs: Iterable[Pair], out: Path, max_side_px: int) -> None:
    """Write one HTML page of pairs, which needs no other file and no network.

    Args:
        pairs: see `find_pairs`.
        out: the page, replaced atomically.
        max_side_px: larger images are scaled down.

    Raises:
        ValueError: an image or mask cannot be read, or has another size than its partner.
        OSError: the page cannot be written.
    """
    page = (WEB / "compare.html").read_text(encoding="utf-8")
    for name in ("compare.css", "compare.js"):
        page = page.replace(f"/* {name} */", (WEB / name).read_text(encoding="utf-8"))
    head, tail = page.split("<!-- images -->\n")
    # names of files may hold bytes that are not text
    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.write(head)
        for pair in pairs:  # one at a time: a page may be larger than the memory
            file.write(_figure(pair, max_side_px))
        file.write(tail)


def jpeg_uri(image: Image.Image, quality: int, subsampling: int = 2) -> str:
    """An RGB image as the data URI of a JPEG file; see Pillow for the options."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    return _uri("image/jpeg", file)


def _figure(pair: Pair, max_side_px: int) -> str:
    """HTML of one pair."""
    before, after = read_for_page(pair.rainy), read_for_page(pair.derained)
    height, width = before.shape[:2]
    _check_size(pair.derained, after, pair.rainy, before)
    mask = ""
    if pair.mask is not None:
        region = read_for_page(pair.mask)
        _check_size(pair.mask, region, pair.derained, after)
        mask = f'<img class="mask" alt="" src="{_mask_uri(region[..., 0])}" draggable="false">'
    name = escape(pair.name)
    layers = "".join(
        f'<div class="layer" style="--left:{left}"><img src="{_image_uri(pixels, max_side_px)}" '
        f'alt="{name}, {title.lower()}" draggable="false">{over}<span class="tag" '
        f'aria-hidden="true">{title}</span></div>\n'
        for title, left, pixels, over in (
            ("Rain", "0%", before, mask),
            ("Rain removed", "50%", after, ""),
        )
    )
    return (
        f'<figure data-name="{name}" style="--ratio:{width / height:.4f}">\n'
        f'<div class="compare" data-name="{name}">\n{layers}</div>\n'
        f"<figcaption>{name}, {width} x {height} px</figcaption>\n</figure>\n"
    )


def _images(folder: Path) -> list[Path]:
    """Image files below a folder, relative to it, without the extras that `jorder` saves."""
    paths = [path.relative_to(folder) for path in list_images(folder, recursive=True)]
    stems = {path.with_suffix("") for path in paths}
    extras = {stem.with_name(stem.name + ending) for stem in stems for ending in ENDINGS.values()}
    return [path for path in paths if path not in extras]


def read_for_page(path: Path) -> Pixels:
    """Upright pixels of an image file, uint8 RGB (H, W, 3); ImageFileError if it cannot be read."""
    try:
        pixels = read_image(path).pixels
    except (ImageFileError, OSError) as error:
        raise ImageFileError(f"{path}: {error}") from error
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def _check_size(path: Path, pixels: Pixels, other: Path, expected: Pixels) -> None:
    if pixels.shape != expected.shape:
        (height, width, _), (other_height, other_width, _) = pixels.shape, expected.shape
        raise UserError(
            f"{path} has {width} x {height} px, {other} has {other_width} x {other_height}; "
            "derain it again, or compare other folders"
        )


def _image_uri(pixels: Pixels, max_side_px: int) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    return jpeg_uri(image, quality=92, subsampling=0)


def _mask_uri(region: Pixels) -> str:
    """A mask as a PNG of one colour, transparent where no rain is."""
    height, width = region.shape
    image = Image.frombytes("P", (width, height), (region > 127).tobytes())
    image.putpalette((0, 0, 0, *_MASK_COLOUR))
    file = io.BytesIO()
    image.save(file, "PNG", bits=1, transparency=bytes((0, _MASK_OPACITY)))
    return _uri("image/png", file)


def _uri(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64," + base64.b64encode(file.getvalue()).decode()
