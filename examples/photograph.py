"""The photograph of the examples: it comes inside scikit-image, nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray

from jorder_preproc import rain_image


def clean_photograph() -> NDArray[np.uint8]:
    """A cat, RGB (200, 300, 3)."""
    pixels: NDArray[np.uint8] = skimage.data.chelsea()[40:240, 80:380]
    return np.ascontiguousarray(pixels)


def rainy_photograph() -> NDArray[np.uint8]:
    """The same in drawn rain."""
    rainy: NDArray[np.uint8] = rain_image(clean_photograph(), "heavy", seed=0, image_id="cat")
    return rainy


def print_quality(derained: NDArray[Any]) -> None:
    """Print the PSNR, dB, of the rainy and of the derained photograph, uint8 RGB."""
    clean = clean_photograph().astype(float)
    before, after = (
        10 * np.log10(255**2 / np.square(image - clean).mean())
        for image in (rainy_photograph(), derained)
    )
    print(f"rainy {before:.2f} dB, derained {after:.2f} dB")
