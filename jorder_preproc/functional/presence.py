"""Whether it rains in an image at all, as the network's `RainPresence` estimates it."""

from __future__ import annotations

import torch
from torch import Tensor

from jorder_preproc.errors import UserError
from jorder_preproc.functional import windows
from jorder_preproc.images import check_image
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.variants import get_variant, list_models


@torch.no_grad()
def rain_probability(model: Jorder, image: Tensor, *, tile: int | None = None) -> Tensor:
    """How probable it is that it rains in an image, as `RainPresence` estimates it.

    Args:
        model: what `load_model` or `build_model` returns.
        image, tile: see `derain`.

    Returns:
        float32, () or (N,), in [0, 1], on the device of the image. `derain` returns an image
        as it is where this is below `model.dry_threshold`.

    Raises:
        TypeError, ValueError: as `derain`; or the network cannot tell.
    """
    check_image(image, integers=True)
    if model.presence is None:
        able = [name for name in list_models() if get_variant(name).cues]
        raise UserError(f"{model.name} cannot tell whether it rains; use one of {', '.join(able)}")
    images = image.detach() if image.ndim == 4 else image.detach()[None]
    probability = model.presence(describe_rain(model, images, tile)).float().sigmoid()
    return probability.to(image.device).reshape(image.shape[:-3])


def describe_rain(model: Jorder, images: Tensor, tile: int | None) -> Tensor:
    """Cues of `RainPresence` for whole images, computed window by window.

    Args:
        model: has a `RainPresence`.
        images: (N, 3, H, W), float, uint8 or uint16.
        tile: see `derain`.

    Returns:
        float (N, cues), on the network's device.
    """
    presence = model.presence
    assert presence is not None
    cell = presence.cell_px
    halo = windows.round_up(presence.reach, cell)
    parameter = next(model.parameters())
    height, width = images.shape[-2:]
    rows = []
    for row in windows.spans(height, tile, halo, model.multiple, model.fold):
        cells = []
        for column in windows.spans(width, tile, halo, model.multiple, model.fold):
            rainy = windows.read_window(images, row, column).to(parameter)
            down, across = (
                slice(span.keep.start // cell, -(-span.keep.stop // cell)) for span in (row, column)
            )
            cells.append(presence.features(rainy)[..., down, across])
        rows.append(torch.cat(cells, 3))
    return presence.cues(torch.cat(rows, 2))
