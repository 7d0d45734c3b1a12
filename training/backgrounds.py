"""Augmentation of clean photographs with textures that a network could mistake for rain.

A network trained on plain photographs alone removes wood grain, film grain and JPEG artefacts.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.camera import compress


def vary(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add parallel grain, sharpen, add noise and compress, each with a probability of its own.

    Args:
        pixels: uint8 RGB (H, W, 3).
        rng: source of all randomness.

    Returns:
        uint8 RGB of the same shape.
    """
    height, width = pixels.shape[:2]
    if rng.random() < 0.4:
        colour = 1 + rng.uniform(-0.3, 0.3, 3)
        grain = parallel_grain((height, width), rng)[..., None] * colour
        pixels = _to_pixels(pixels * (1 + rng.uniform(0.02, 0.05) * grain))
    if rng.random() < 0.4:
        blurred = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.6, 2.5))
        amount = rng.uniform(0.5, 2)
        pixels = cv2.addWeighted(pixels, 1 + amount, blurred, -amount, 0)
    if rng.random() < 0.3:
        # one channel: grain of film
        noise = rng.standard_normal((height, width, int(rng.choice([1, 3]))), np.float32)
        pixels = _to_pixels(pixels + rng.uniform(1, 12) * noise)
    if rng.random() < 0.5:
        pixels = compress(pixels[..., ::-1], int(rng.integers(25, 96)))[..., ::-1]
    return pixels


def parallel_grain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Texture of parallel lines, as of wood or brushed metal: (H, W), mean 0, deviation 1.

    White noise under an anisotropic Gaussian blur, long along the lines and short across
    them, applied in the frequency domain; half of the time only the light or the dark lines.
    """
    height, width = shape
    angle = rng.uniform(0, np.pi)
    along_px, across_px = rng.uniform(4, 40), rng.uniform(0.4, 2)
    vertical, horizontal = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    along = horizontal * np.cos(angle) + vertical * np.sin(angle)
    across = vertical * np.cos(angle) - horizontal * np.sin(angle)
    response = np.exp(-2 * np.pi**2 * ((along_px * along) ** 2 + (across_px * across) ** 2))
    grain = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * response, shape)
    grain /= grain.std() + 1e-12
    if rng.random() < 0.5:
        grain = np.maximum(grain * rng.choice([-1, 1]), 0) * rng.choice([-1, 1])
    return (grain - grain.mean()) / (grain.std() + 1e-12)


def _to_pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
