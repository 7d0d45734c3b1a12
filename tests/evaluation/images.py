"""Photographs to put rain on."""

from pathlib import Path

import numpy as np
from PIL import Image


def photograph(path: Path, seed: int, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Smooth uint8 RGB (H, W, 3), as a file without loss."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return np.array(image)
