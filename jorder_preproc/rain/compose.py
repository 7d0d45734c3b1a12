"""Image formation: the region-dependent rain model, Eq. 2 and Eq. 3 (Sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def compose(
    background: Tensor,
    streak_layers: Tensor | Sequence[Tensor],
    region_mask: Tensor,
    transmission: Tensor | float = 1.0,
    atmospheric_light: Tensor | float = 1.0,
) -> Tensor:
    """Form a rainy image: O = alpha (B + sum_t S_t R) + (1 - alpha) A.

    Eq. 3. With transmission 1 it is Eq. 2, O = B + S R.

    Args:
        background: B, float (..., 3, H, W), in [0, 1].
        streak_layers: S, one tensor or one per direction, each (..., 1 or 3, H, W), >= 0.
        region_mask: R, (..., 1, H, W), 0 or 1.
        transmission: alpha, a number or (..., 1, H, W), in (0, 1].
        atmospheric_light: A, a number or (..., 3, 1, 1), in [0, 1].

    Returns:
        O, shaped like B, not clamped.

    Raises:
        ValueError: background has no three channels, or another tensor does not fit it.
    """
    if background.ndim < 3 or background.shape[-3] != 3:
        raise ValueError(f"background must be (..., 3, H, W), got {tuple(background.shape)}")
    layers = [streak_layers] if isinstance(streak_layers, Tensor) else list(streak_layers)
    named = [("streak_layers", layer) for layer in layers] + [("region_mask", region_mask)]
    if isinstance(transmission, Tensor) and transmission.ndim > 1:
        named.append(("transmission", transmission))
    for name, tensor in named:
        if tensor.ndim < 3 or tensor.shape[-2:] != background.shape[-2:]:
            raise ValueError(
                f"{name} must have the height and width of the background, "
                f"{tuple(background.shape[-2:])}, got shape {tuple(tensor.shape)}"
            )
    streaks = torch.zeros_like(background)
    for layer in layers:
        streaks = streaks + layer * region_mask
    return transmission * (background + streaks) + (1 - transmission) * atmospheric_light
