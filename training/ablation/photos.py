"""Photographs that come inside scikit-image and scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jorder_preproc.errors import UserError
from jorder_preproc.image_files import write_png

BUILT_IN = "built-in"
TRAIN = ("astronaut", "coffee", "motorcycle", "china.jpg")
VAL = ("chelsea", "rocket", "flower.jpg")


def write_built_in_photos(folder: Path, names: Sequence[str]) -> str:
    """Photographs that come inside scikit-image and scikit-learn, as files; gives the folder.

    Raises:
        UserError: these packages are not there.
    """
    try:
        import skimage.data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise UserError(
            "the built-in photographs need scikit-image and scikit-learn; "
            "pip install 'jorder-preproc[demo]', or pass --photos and --val-photos"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{Path(name).stem}.png"
        if path.exists():
            continue
        if name.endswith(".jpg"):
            pixels = load_sample_image(name)
        elif name == "motorcycle":
            pixels = skimage.data.stereo_motorcycle()[0]
        else:
            pixels = getattr(skimage.data, name)()
        write_png(path, pixels)
    return str(folder)
