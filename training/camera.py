"""Augmentation with the degradations of lenses, sensors and image files."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmengine.registry import TRANSFORMS

from training.data import random_window


def photograph(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Occlude, stain, blur, add noise, smooth and compress, each with its own probability.

    None of these is directional, so models trained with them have not seen streaks.

    Args:
        pixels: uint8 BGR (H, W, 3).
        rng: source of all randomness.

    Returns:
        uint8 of the same shape.
    """
    height, width = pixels.shape[:2]
    values: np.ndarray = pixels.astype(np.float32)
    if rng.random() < 0.3:
        _cover(values, rng)
    if rng.random() < 0.35:  # uneven light, or dirt on the lens
        values += rng.uniform(8, 40) * blotches((height, width), rng)
    if rng.random() < 0.35:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.45:
        noise: np.ndarray = rng.standard_normal(values.shape[: rng.integers(2, 4)], np.float32)
        if rng.random() < 0.5:  # correlated, as after demosaicing
            noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 1.5))
            noise = noise / noise.std()
        values += rng.uniform(2, 22) * noise.reshape(height, width, -1)
    pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        pixels = cv2.medianBlur(pixels, int(rng.choice([3, 5])))
    if rng.random() < 0.35:
        pixels = compress(pixels, int(rng.integers(20, 91)))
    return pixels


def compress(pixels: np.ndarray, quality: int) -> np.ndarray:
    """JPEG round trip of uint8 BGR (H, W, 3) at a quality of 1 to 100."""
    file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(file, cv2.IMREAD_COLOR)


def blotches(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth random stains, grey or coloured: float32 (H, W, 1 or 3), about -1 to 1."""
    height, width = shape
    cell_px = np.exp(rng.uniform(np.log(4), np.log(48)))
    grid = (round(height / cell_px) + 2, round(width / cell_px) + 2, int(rng.choice([1, 3])))
    coarse = rng.uniform(-1, 1, grid).astype(np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return fine.reshape(height, width, -1)


def _cover(values: np.ndarray, rng: np.random.Generator) -> None:
    """Paint up to four rectangles of random colour and opacity."""
    height, width = values.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        high, wide = (int(side * rng.uniform(0.04, 0.2)) + 1 for side in (height, width))
        patch = values[random_window((height, width), (high, wide), rng)]
        patch += rng.uniform(0.4, 1) * (rng.uniform(0, 255, 3).astype(np.float32) - patch)


@TRANSFORMS.register_module()
class CameraEffects:
    """`photograph` in a training pipeline: changes `img` alone.

    Args:
        probability: share of images that may be changed.
    """

    def __init__(self, probability: float = 0.8):
        self.probability = probability

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        # MMEngine seeds NumPy's global generator, differently in each worker
        rng = np.random.default_rng(np.random.randint(2**31))
        if rng.random() < self.probability:
            results["img"] = photograph(results["img"], rng)
        return results
