"""Derain images: check, pad, run window by window, gate, clamp, crop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, relu

from jorder_preproc.errors import UserError
from jorder_preproc.functional import windows
from jorder_preproc.functional.deveil import is_veiled, remove_in_strips
from jorder_preproc.images import check_image, float_to_pixels, pixels_to_float
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.variants import get_variant, list_models
from jorder_preproc.rain.synthesize import VISIBLE

GATE_WINDOW = 5
"""Side of the gate's max-pooling window, px; see `region_gate`."""

Step = Literal["derain", "deveil"]
Dry = Literal["leave", "derain"]
Deveil = Literal[False, True, "auto"]
"""Which images the veil of rain accumulation is removed from: none, all, or those with one."""

DEVEIL_ORDER: tuple[Step, ...] = ("derain", "deveil", "derain")
"""Sec. 5.2: without the veil, streaks show that the first step did not see."""

# what the CPU allocator, C++, oneDNN and ONNX Runtime say in errors of general types
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "could not create a primitive",
    "Failed to allocate memory",
)

# in halos: half of the side is overlap; smaller tiles would take many times as long
_SMALLEST_RETRY = 4


class Derained(NamedTuple):
    """An image without its rain, and the rain.

    S is the light that streaks add, as in Eq. 2 and 3 and in `RainSample`: on the scale of B,
    without the veil, and only what was removed from the image.

    - The gate of a gated network scales S as it scales the change of B, S = g S'.
    - The S of several steps is their sum. Streaks found behind a veil are alpha S, so a deveil
      step divides them by alpha + epsilon, as it does the image (Eq. 10). With that step's
      alpha and A, alpha (B + S) + (1 - alpha) A is the image given, up to the network's error
      and clipping.

    Attributes:
        background: B, like the image.
        streak_map: S, like the image; None unless asked for.
        region_mask: R, (1, H, W) or (N, 1, H, W), in the dtype of the image, 0 or white: where
            any step saw streaks; None unless asked for.
        rain_probability: that it rains, as estimated by the first derain step, float64, () or
            (N,), on the CPU; None if the network cannot tell. See `rain_probability`.
    """

    background: Tensor
    streak_map: Tensor | None = None
    region_mask: Tensor | None = None
    rain_probability: Tensor | None = None


@torch.no_grad()  # not inference mode: the results may go into what is trained
def derain(
    model: Jorder,
    image: Tensor,
    *,
    tile: int | None = None,
    deveil: Deveil = False,
    deveil_model: DeveilNetwork | None = None,
    order: Sequence[Step] | None = None,
    dry: Dry = "leave",
    with_streak_map: bool = False,
    with_region_mask: bool = False,
) -> Derained:
    """Estimate B, S and R of Eq. 2 from a rainy image O; with `deveil`, of Eq. 3.

    The tensor form of `derain_image`, which takes images of any type.

    Networks with the paper's labels change an image only where they see rain: their region
    probability gates the change, B = O + g (B' - O), and S = g S'; see `region_gate`. Networks
    with the release's labels, and those trained without the gate, are not gated. R of networks
    with the release's labels is where S is visible.

    The network runs on its own device. Large batches are run a few images at a time, with the
    same result up to rounding. Of integer images no more than a tile is float at a time, so
    that their memory hardly grows; between two steps they are rounded to 16 bits.

    Args:
        model: what `load_model` or `build_model` returns.
        image: O, RGB (3, H, W) or (N, 3, H, W), any H, W >= 1; float in [0, 1], uint8 or
            uint16.
        tile: side of the windows that are run, px, which bounds the memory; the result is that
            of the whole image up to 1e-4. Larger ones overlap less and are faster. None runs
            the whole image. Where memory runs out, smaller tiles are tried in either case.
        deveil: remove the veil of rain accumulation as well: True from every image, `"auto"`
            from those that show one after the first step, see `THIN_VEIL`.
        deveil_model: what `load_deveil_model` returns, on the device of `model`; needed unless
            `deveil` is False.
        order: the steps to take (Fig. 10); None takes `derain`, and with `deveil` `derain`,
            `deveil`, `derain` (Sec. 5.2).
        dry: what happens to images in which the network sees no rain, their probability of
            rain being below `Jorder.dry_threshold`: `leave` returns them bit for bit; `derain`
            derains them all the same. Each derain step decides once for a whole image.
            Networks without `RainPresence` derain everything.
        with_streak_map: return S.
        with_region_mask: return R.

    Returns:
        B, S and R in the dtype and on the device of the image; see `Derained`.

    Raises:
        TypeError: image is not a tensor, or of another dtype.
        ValueError: wrong shape, values outside [0, 1], NaN, a tile smaller than what the
            network needs around a pixel, or options that do not fit each other.
    """
    check_image(image, integers=True)
    steps = check_options(deveil, dry, order)
    if (deveil_model is None) == bool(deveil):
        raise ValueError(
            f"deveil={deveil!r} needs deveil_model=load_deveil_model(), got none"
            if deveil
            else "deveil_model is for deveil=True or 'auto', got deveil=False"
        )
    images = image.detach() if image.ndim == 4 else image.detach()[None]
    exact = images.is_floating_point() or len(steps) == 1
    between = images.dtype if exact else torch.uint16
    layers, probability = {"background": images}, None
    if with_streak_map:
        layers["streak_map"] = torch.zeros_like(images, dtype=between)
    if with_region_mask:
        layers["region_mask"] = torch.zeros_like(images[:, :1], dtype=between)
    # the first and the last image behind the present veil; see `estimate_from_views`
    views = [images]
    undecided, all_layers, veiled = deveil == "auto", None, []
    for step in steps:
        if step == "derain":
            layers, seen = _derain_step(model, layers, tile, dry, between)
            probability = seen if probability is None else probability
            views = [views[0], layers["background"]]
            continue
        assert deveil_model is not None  # as check_options wants it for this step
        if undecided:
            undecided = False
            veiled = is_veiled(deveil_model, views).nonzero()[:, 0].tolist()
            if not veiled:
                break
            if len(veiled) < len(images):
                all_layers, layers = layers, {name: part[veiled] for name, part in layers.items()}
                views = [view[veiled] for view in views]
        removed = remove_in_strips(deveil_model, views, between, layers.get("streak_map"))
        layers["background"], views = removed, [removed]
    if all_layers is not None:
        for name, layer in all_layers.items():
            for number, one in zip(veiled, layers[name], strict=True):
                layer[number] = one
        layers = all_layers
    if not exact:
        layers = {name: windows.convert(layer, images.dtype) for name, layer in layers.items()}
    if probability is not None:
        layers["rain_probability"] = probability
    if image.ndim == 3:
        layers = {name: layer[0] for name, layer in layers.items()}
    return Derained(**layers)


def rain_probability(model: Jorder, image: Tensor, *, tile: int | None = None) -> Tensor:
    """How probable it is that it rains in an image, as `RainPresence` estimates it.

    `derain` returns an image as it is where this is below `model.dry_threshold`; this takes as
    long.

    Args:
        model, image, tile: see `derain`.

    Returns:
        float64, () or (N,), in [0, 1], on the CPU.

    Raises:
        TypeError, ValueError: as `derain`; or the network cannot tell.
    """
    found = derain(model, image, tile=tile, dry="derain").rain_probability
    if found is None:
        able = [name for name in list_models() if get_variant(name).levels]
        raise UserError(f"{model.name} cannot tell whether it rains; use one of {', '.join(able)}")
    return found


def check_options(deveil: Deveil, dry: Dry, order: Sequence[str] | None = None) -> tuple[Step, ...]:
    """The steps that `derain` takes; ValueError for options that it refuses."""
    if deveil not in get_args(Deveil):
        raise ValueError(f"deveil must be False, True or 'auto', got {deveil!r}")
    if dry not in get_args(Dry):
        raise ValueError(f"dry must be one of {', '.join(get_args(Dry))}, got {dry!r}")
    if order is None:
        return DEVEIL_ORDER if deveil else ("derain",)
    steps = cast("tuple[Step, ...]", tuple(order))
    if not steps or set(steps) - set(get_args(Step)):
        raise ValueError(
            f"order must be steps out of {', '.join(get_args(Step))}, got {order!r}; "
            f"for example {DEVEIL_ORDER}"
        )
    if ("deveil" in steps) != bool(deveil):
        raise ValueError(
            f"the order {steps} has no deveil step, got deveil={deveil!r}; leave one of them out"
            if deveil
            else f"the order {steps} needs deveil=True or 'auto', got deveil=False"
        )
    if deveil == "auto" and steps[0] != "derain":
        raise ValueError(f"deveil='auto' needs an order that begins with derain, got {steps}")
    return steps


def region_gate(probability: Tensor) -> Tensor:
    """How much of the network's change a pixel takes, from the region probability R.

    The highest probability of rain within `GATE_WINDOW`: wide enough for the soft edges of
    streaks, and near 0 where there is no rain. Networks are trained through the same gate.

    Args:
        probability: that a pixel is in the rain region, float (N, 1, H, W), in [0, 1].

    Returns:
        float (N, 1, H, W), in [0, 1].
    """
    return max_pool2d(probability, GATE_WINDOW, stride=1, padding=GATE_WINDOW // 2)


def _derain_step(
    model: Jorder, before: dict[str, Tensor], tile: int | None, dry: Dry, dtype: torch.dtype
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Derain the background of `before`, and add what is found to its S and R.

    Also returns the probability of rain. Where memory runs out, images are run one by one, then
    in smaller and smaller tiles.
    """
    reach = model.receptive_field + GATE_WINDOW // 2
    halo = math.ceil(reach / model.multiple) * model.multiple
    smallest = 2 * halo + model.multiple
    if tile is not None and tile < smallest:
        raise UserError(
            f"tile must be at least {smallest} px for {model.name}, which sees {halo} px to "
            f"each side, got {tile}; use a larger tile, or None for the whole image"
        )
    count, _, height, width = before["background"].shape
    longest = max(height, width)
    pixels_at_once = windows.PIXELS_AT_ONCE if tile is None else tile**2
    images_at_once = max(1, min(pixels_at_once // (height * width), count))
    after = {name: torch.empty_like(layer, dtype=dtype) for name, layer in before.items()}
    probability = None
    if model.presence is not None:
        probability = torch.empty(count, dtype=torch.float64, device="cpu")
    while True:
        try:
            for start in range(0, count, images_at_once):
                batch = slice(start, start + images_at_once)
                with _own_precision(next(model.parameters()).device.type):
                    _derain_batch(model, before, after, batch, tile, halo, dry, probability)
            return after, probability
        except Exception as error:
            edge = min(tile or longest, longest)
            smaller = max(edge // 2, _SMALLEST_RETRY * halo)
            if not _is_out_of_memory(error) or (images_at_once == 1 and smaller >= edge):
                raise
        # outside the except clause, which would keep the memory of the failed run alive
        if images_at_once > 1:
            images_at_once = 1
        else:
            tile = smaller


def _derain_batch(
    model: Jorder,
    before: dict[str, Tensor],
    after: dict[str, Tensor],
    batch: slice,
    tile: int | None,
    halo: int,
    dry: Dry,
    probability: Tensor | None,
) -> None:
    """Derain the images `batch` of `before`, writing to `after` and to `probability` of rain."""
    images = before["background"][batch]
    cues = None if model.image_cues is None else _describe(model, images, tile)
    sums: Tensor | int = 0  # of the windows so far
    cells = 0
    device = next(model.parameters()).device
    cut = tile, halo, model.multiple, model.fold
    rows, columns = windows.spans(images.shape[2], *cut), windows.spans(images.shape[3], *cut)
    for row, column in itertools.product(rows, columns):
        rainy = pixels_to_float(images[..., row.source[:, None], column.source])
        derained, coarsest = derain_window(model, rainy.to(device), cues)
        if model.presence is not None and coarsest is not None:
            kept = coarsest[windows.cells_of(row, column, model.fold)]
            sums = model.presence.sums(kept) + sums
            cells += kept[0, 0].numel()
        window = (batch, ..., row.target, column.target)
        for name, layer in after.items():
            value = derained[name][..., row.keep, column.keep]
            if name != "background":
                value = (value + pixels_to_float(before[name][window]).to(value)).clamp(max=1)
            layer[window] = float_to_pixels(value, layer.dtype)
    if model.presence is None or probability is None:
        return
    probability[batch] = model.presence(sums, cells).cpu().double().sigmoid()
    for number, rain in enumerate(probability[batch].tolist(), batch.start):
        if dry == "derain" or rain >= model.dry_threshold:
            continue
        for name, layer in after.items():
            layer[number] = windows.convert(before[name][[number]], layer.dtype)[0]


def _describe(model: Jorder, images: Tensor, tile: int | None) -> Tensor:
    """`ImageCues` of whole images, (N, cues), computed window by window."""
    assert model.image_cues is not None
    cell = model.image_cues.cell_px
    halo = math.ceil(model.image_cues.reach / cell) * cell
    parameter = next(model.parameters())
    height, width = images.shape[-2:]
    cut = tile, halo, model.multiple, model.fold
    rows = []
    for row in windows.spans(height, *cut):
        cells = []
        for column in windows.spans(width, *cut):
            rainy = pixels_to_float(images[..., row.source[:, None], column.source])
            features = model.image_cues.features(rainy.to(parameter))
            cells.append(features[windows.cells_of(row, column, cell)])
        rows.append(torch.cat(cells, 3))
    cues: Tensor = model.image_cues(torch.cat(rows, 2))
    return cues


def derain_window(
    model: Jorder, rainy: Tensor, cues: Tensor | None
) -> tuple[dict[str, Tensor], Tensor | None]:
    """B, S and R of a window on the network's device, and the coarsest features of stage 1."""
    dtype = next(model.parameters()).dtype
    precise = torch.promote_types(rainy.dtype, torch.float32)
    seen = rainy.to(dtype)
    output = model.predict(seen, cues)
    change = output.background.to(precise) - seen.to(precise)
    paper = model.label_convention == "paper"
    streak_map = relu(output.streak_map if paper else -output.streak_map)
    if model.detects_rain:
        rain = output.mask_logits.float().softmax(1)[:, 1:]
        region_mask = rain > 0.5
        if model.gated:
            gate = region_gate(rain)
            change, streak_map = gate * change, gate * streak_map
    else:
        region_mask = streak_map.amax(1, keepdim=True) > VISIBLE
    background = (rainy.to(precise) + change).clamp(0, 1)
    layers = {
        "background": background,
        "streak_map": streak_map.to(precise).clamp(max=1),
        "region_mask": region_mask.to(precise),
    }
    return layers, output.coarsest


def _own_precision(device: str) -> AbstractContextManager[object]:
    """The network's own precision, also where a pipeline around it uses autocast."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        message in str(error) for message in _OUT_OF_MEMORY
    )
