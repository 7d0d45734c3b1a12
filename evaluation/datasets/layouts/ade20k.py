"""The validation set of ADE20K's scene parsing benchmark, or a set laid out like it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.datasets.layouts.base import LayoutError, check_folder, some
from jorder_preproc.image_files import list_images

CLASSES = 150


@dataclass(frozen=True)
class Ade20k:
    """Images and their annotation maps.

    Attributes:
        root: the folder that holds `images` and `annotations`.
        stems: names of the images without suffix, sorted.
    """

    root: Path
    stems: tuple[str, ...]

    def image(self, stem: str) -> Path:
        """Path of an image."""
        return self.root / "images/validation" / f"{stem}.jpg"

    def annotation(self, stem: str) -> Path:
        """Path of an annotation map."""
        return self.root / "annotations/validation" / f"{stem}.png"


def find_ade20k(root: str | Path) -> Ade20k:
    """Find ROOT/images/validation/*.jpg and ROOT/annotations/validation/*.png."""
    root = Path(root)
    check_folder(root, "`images` and `annotations` of ADEChallengeData2016")
    stems = []
    for folder, suffix in (("images/validation", ".jpg"), ("annotations/validation", ".png")):
        check_folder(root / folder, f"*{suffix} files of ADE20K's validation set")
        files = list_images(root / folder)
        other = [path.name for path in files if path.suffix != suffix]
        if other or not files:
            raise LayoutError(
                f"{root / folder} must hold *{suffix} files, which is what mmseg looks for; "
                f"there are {f'also {some(other)}' if other else 'none'}"
            )
        stems.append({path.stem for path in files})
    images, maps = stems
    if images != maps:
        raise LayoutError(
            f"{len(images - maps)} images of {root} have no annotation map, and "
            f"{len(maps - images)} maps no image: {some(images ^ maps)}; each "
            "images/validation/NAME.jpg needs annotations/validation/NAME.png"
        )
    return Ade20k(root, tuple(sorted(images)))


def read_annotation_map(path: Path) -> NDArray[np.integer]:
    """Values of an annotation map, integers (H, W)."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "I", "I;16"):
                raise LayoutError(
                    f"{path} has colours (mode {image.mode}); expected one channel with the "
                    "number of the class: use ADEChallengeData2016, not the full ADE20K"
                )
            return np.array(image)
    except LayoutError:
        raise
    except Exception as error:  # damaged files fail in any way in their decoders
        raise LayoutError(f"cannot read {path} ({error}); replace it") from error
