"""Take the rain off a picture: pad, run, gate, crop, clamp, in one piece or tile by tile.

`jorder_preproc.derain` is the function of this module, not the module itself; import more
from here as `from jorder_preproc.functional.derain import derain_pixels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d, relu

from jorder_preproc.canvas import AnyCanvas, FloatCanvas, PixelCanvas
from jorder_preproc.errors import UserError
from jorder_preproc.functional import windows
from jorder_preproc.functional.deveil import is_veiled, remove_from_canvas
from jorder_preproc.functional.windows import round_up, spans
from jorder_preproc.images import check_image
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.variants import get_variant, list_models
from jorder_preproc.rain.synthesize import VISIBLE

GATE_WINDOW = 5
"""Height and width, px, of what counts as near a pixel; see `region_gate`."""

Step = Literal["derain", "deveil"]
Dry = Literal["leave", "derain"]

DEVEIL_ORDER: tuple[Step, ...] = ("derain", "deveil", "derain")
"""Sec. 5.2: the veil's removal brings out streaks that the first step did not see."""

# in halos: half of the edge is overlap; smaller tiles would take many times as long
_SMALLEST_RETRY = 4


class Derained(NamedTuple):
    """A picture without its rain, and the rain.

    S is the network's estimate of the light that streaks add, as far as it was taken off, and
    means what it does in Eq. 2 and 3 and in `RainSample`: light on the scale of B, without
    the veil.

    - The gate of a gated network shuts S as it shuts the change of B, S = g S': what is left
      in the picture is not in S.
    - Steps add up, each after the veil is gone. Streaks seen through it are alpha S, so a
      deveil step divides what was found before by alpha + epsilon, as it does the picture
      (Eq. 10). With its alpha and A, alpha (B + S) + (1 - alpha) A is then the picture given,
      up to the network's error and what was cut off at black or white. S as seen in the
      picture would take alpha to be compared with B, and alpha is not returned.

    Attributes:
        background: B, float, shaped like the image, in [0, 1].
        streak_map: S, float, shaped like the image, in [0, 1].
        region_mask: R, float, (1, H, W) or (N, 1, H, W), 0 or 1: where any step saw streaks.
    """

    background: Tensor
    streak_map: Tensor
    region_mask: Tensor


class DerainedPixels(NamedTuple):
    """What `derain_pixels` returns.

    Attributes:
        background: B, like the pixels given.
        streak_map: S of `Derained`, like the pixels given and on their scale; None where it
            was not asked for.
        region_mask: R, uint8 (H, W), 0 or 255; None where it was not asked for.
        rain_probability: what the first derain step went by, in [0, 1]; see `rain_probability`.
            None where the network cannot tell.
    """

    background: NDArray[Any]
    streak_map: NDArray[Any] | None
    region_mask: NDArray[np.uint8] | None
    rain_probability: float | None


def derain(
    network: Jorder,
    image: Tensor,
    *,
    tile: int | None = None,
    deveil: DeveilNetwork | None = None,
    order: Sequence[Step] | None = None,
    auto: bool = False,
    dry: Dry = "leave",
) -> Derained:
    """Estimate B, S and R of Eq. 2 from a rainy picture O; with a deveil network, of Eq. 3.

    Networks with the paper's labels change a picture only where they see rain: their own
    region probability gates the change, B = O + g (B' - O), and S = g S'; see `region_gate`.
    Networks with the release's labels are not gated, and their R is where S shows. Nor are
    those trained without the gate, `Jorder.gated`.

    The picture runs on the device of the network; the results are on the picture's own.
    Large batches are run a few pictures at a time, with the same result up to rounding.

    Args:
        network: what `load_model` or `build_model` gives.
        image: O, float RGB (3, H, W) or (N, 3, H, W), in [0, 1], any H, W >= 1.
        tile: run in windows of this height and width, px, which bounds the memory; the
            result is that of the whole picture up to 1e-4. None runs the whole picture.
            Where memory runs out, smaller tiles are tried in either case.
        deveil: what `load_deveil_model` gives, on the same device; None leaves the veil of
            rain accumulation in place.
        order: steps of the whole, one after the other (Fig. 10); None takes `derain`, and
            with a deveil network `derain`, `deveil`, `derain` (Sec. 5.2).
        auto: leave out the veil's removal, and all that follows it, for each picture that
            shows no veil to speak of after the first step; see `THIN_VEIL`.
        dry: what becomes of a picture in which the network's `RainPresence` sees no rain, its
            probability being below `Jorder.dry_threshold`: `leave` gives it back bit for bit,
            without running the rest of the network; `derain` derains it all the same. Every
            derain step decides for itself, once for a whole picture. Networks without
            `RainPresence` derain everything.

    Returns:
        B, S and R in the dtype and on the device of the image; see `Derained`.

    Raises:
        TypeError: image is not a tensor, or not float.
        ValueError: wrong shape, values outside [0, 1], NaN, a tile too small for what
            the network sees to each side of a pixel, or an order that does not fit.
    """
    check_image(image)
    first, rest = _split(check_order(order, deveil is not None, auto))
    check_dry(dry)
    given = image.detach()
    frames = FloatCanvas(given if given.ndim == 4 else given[None])
    layers = _Layers(frames, frames.blank(3), frames.blank(1))
    layers, views, _ = _take_steps(network, deveil, layers, first, tile, dry)
    if rest and deveil is not None:
        chosen = torch.ones(frames.shape[0], dtype=torch.bool, device=given.device)
        if auto:
            chosen = is_veiled(deveil, views).to(given.device)
        part = _Layers(*(FloatCanvas(layer.values[chosen]) for layer in layers))
        views = [FloatCanvas(view.values[chosen]) for view in views]
        part, _, _ = _take_steps(network, deveil, part, rest, tile, dry, views)
        layers = _Layers(
            *(
                FloatCanvas(whole.values.index_put((chosen,), some.values))
                for whole, some in zip(layers, part, strict=True)
            )
        )
    results = Derained(*(layer.values for layer in layers))
    return results if image.ndim == 4 else Derained(*(result[0] for result in results))


def derain_pixels(
    network: Jorder,
    pixels: NDArray[Any],
    *,
    tile: int | None = 512,
    deveil: DeveilNetwork | None = None,
    order: Sequence[Step] | None = None,
    auto: bool = False,
    dry: Dry = "leave",
    with_streak_map: bool = False,
    with_region_mask: bool = False,
) -> DerainedPixels:
    """`derain` for large integer pictures: only one tile at a time is ever held as float.

    The background is that of `derain` with the same tile, rounded; between two steps it is
    rounded to 16 bits.

    Args:
        network: what `load_model` or `build_model` gives.
        pixels: O, uint8 or uint16 RGB (H, W, 3), any H, W >= 1.
        tile: height and width of the windows that are run, px; see `derain`. Larger ones
            overlap less and are faster, but take more memory; None runs the whole picture.
        deveil, order, auto, dry: see `derain`.
        with_streak_map: return S as well.
        with_region_mask: return R as well.

    Raises:
        TypeError: not a NumPy array of uint8 or uint16.
        ValueError: not (H, W, 3), the tile is too small, or the order does not fit.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype not in (np.uint8, np.uint16):
        got = getattr(pixels, "dtype", type(pixels).__name__)
        raise TypeError(
            f"pixels must be a NumPy array of uint8 or uint16, got {got}; "
            "use jorder_preproc.derain for float tensors"
        )
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(
            f"pixels must be (H, W, 3) with H, W >= 1, got {pixels.shape}; "
            "pass RGB without an alpha channel, one picture at a time"
        )
    order = check_order(order, deveil is not None, auto)
    check_dry(dry)
    first, rest = _split(order)
    picture = PixelCanvas(pixels, pixels.dtype if len(order) == 1 else np.uint16)
    layers = _Layers(
        picture,
        picture.blank(3) if with_streak_map else None,
        picture.blank(1) if with_region_mask else None,
    )
    layers, views, rain = _take_steps(network, deveil, layers, first, tile, dry)
    if rest and deveil is not None and (not auto or is_veiled(deveil, views).item()):
        layers, _, later = _take_steps(network, deveil, layers, rest, tile, dry, views)
        rain += later
    background, streak_map, region_mask = layers
    return DerainedPixels(
        background.as_type(pixels.dtype),
        None if streak_map is None else streak_map.as_type(pixels.dtype),
        None if region_mask is None else region_mask.as_type(np.uint8)[..., 0],
        rain[0].item() if rain else None,
    )


def check_order(order: Sequence[str] | None, deveils: bool, auto: bool) -> tuple[Step, ...]:
    """The steps to take; see `derain`.

    Raises:
        ValueError: unknown or no steps, no network for one of them, or an `auto` that finds
            nothing to decide.
    """
    if order is None:
        order = DEVEIL_ORDER if deveils else ("derain",)
    steps = tuple(order)
    if not steps or set(steps) - set(get_args(Step)):
        raise ValueError(
            f"order must be steps out of {', '.join(get_args(Step))}, got {order!r}; "
            f"for example {DEVEIL_ORDER}"
        )
    if ("deveil" in steps) != deveils:
        raise ValueError(
            f"the order {steps} needs a deveil network, deveil=load_deveil_model(), got none"
            if not deveils
            else f"the order {steps} has no step for the deveil network; leave one of them out"
        )
    if auto and (not deveils or steps[0] != "derain"):
        raise ValueError(
            f"auto needs a deveil network and an order that begins with derain, got {steps}"
        )
    return cast("tuple[Step, ...]", steps)


def check_dry(dry: str) -> None:
    """Raise ValueError unless `dry` is one of the two; see `derain`."""
    if dry not in get_args(Dry):
        raise ValueError(f"dry must be one of {', '.join(get_args(Dry))}, got {dry!r}")


def rain_probability(network: Jorder, image: Tensor, *, tile: int | None = None) -> Tensor:
    """How probable it is that it rains in a picture, as `RainPresence` estimates it.

    Args:
        network: what `load_model` or `build_model` gives.
        image: O, float RGB (3, H, W) or (N, 3, H, W), in [0, 1], any H, W >= 1.
        tile: see `derain`.

    Returns:
        float32, () or (N,), in [0, 1], on the device of the image. Below
        `network.dry_threshold` `derain` leaves the picture as it is.

    Raises:
        TypeError: image is not a tensor, or not float.
        ValueError: as `derain`; or the network cannot tell.
    """
    check_image(image)
    if network.presence is None:
        able = [name for name in list_models() if get_variant(name).cues]
        raise UserError(
            f"{network.name} cannot tell whether it rains; use one of {', '.join(able)}"
        )
    given = image.detach()
    frames = FloatCanvas(given if given.ndim == 4 else given[None])
    probability = _probability(network, _cues(network, frames, list(range(frames.shape[0])), tile))
    probability = probability.to(image.device)
    return probability if image.ndim == 4 else probability[0]


def region_gate(probability: Tensor) -> Tensor:
    """How much of the network's change a pixel takes, from the region probability R.

    The highest probability of rain within `GATE_WINDOW`: wide enough for the soft edges of
    streaks, shut where there is no rain. Networks are trained through the same gate.

    Args:
        probability: that a pixel is in the rain region, float (N, 1, H, W), in [0, 1].

    Returns:
        float (N, 1, H, W), in [0, 1].
    """
    return max_pool2d(probability, GATE_WINDOW, stride=1, padding=GATE_WINDOW // 2)


@torch.inference_mode()
def _cues(network: Jorder, source: AnyCanvas, batch: list[int], tile: int | None) -> Tensor:
    """Descriptions of whole pictures by `RainPresence`, (n, cues), seen window by window."""
    presence = network.presence
    assert presence is not None
    cell = presence.cell_px
    halo = round_up(presence.reach, cell)
    parameter = next(network.parameters())
    _, height, width = source.shape
    rows = []
    for row in spans(height, tile, halo, network.multiple, network.fold):
        cells = []
        for column in spans(width, tile, halo, network.multiple, network.fold):
            rainy = source.read(batch, row.source, column.source).to(parameter)
            down, across = (
                slice(span.keep.start // cell, -(-span.keep.stop // cell)) for span in (row, column)
            )
            cells.append(presence.features(rainy)[..., down, across])
        rows.append(torch.cat(cells, 3))
    return presence.cues(torch.cat(rows, 2))


@torch.inference_mode()
def _probability(network: Jorder, cues: Tensor) -> Tensor:
    assert network.presence is not None
    return network.presence(cues).float().sigmoid()


@torch.inference_mode()
def _derain_window(network: Jorder, rainy: Tensor, cues: Tensor | None) -> Derained:
    """Run the network once; `rainy` is on its device, (N, 3, H, W) as it needs them."""
    dtype = next(network.parameters()).dtype
    precise = torch.promote_types(rainy.dtype, torch.float32)
    seen = rainy.to(dtype)
    output = network(seen, cues=cues)[-1]
    change = output.background.to(precise) - seen.to(precise)
    paper = network.label_convention == "paper"
    streak_map = relu(output.streak_map if paper else -output.streak_map)
    if network.detects_rain:
        rain = output.mask_logits.float().softmax(1)[:, 1:]
        region_mask = rain > 0.5
        if network.gated:
            gate = region_gate(rain)
            change, streak_map = gate * change, gate * streak_map
    else:
        region_mask = streak_map.amax(1, keepdim=True) > VISIBLE
    return Derained(
        (rainy.to(precise) + change).clamp(0, 1), streak_map.to(precise), region_mask.to(precise)
    )


class _Layers(NamedTuple):
    """B, S and R as they are written: canvases of one kind; None where one is not wanted."""

    background: Any
    streak_map: Any
    region_mask: Any


def _split(order: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps before the first `deveil`, and those from there on."""
    at = order.index("deveil") if "deveil" in order else len(order)
    return order[:at], order[at:]


def _take_steps(
    network: Jorder,
    deveil: DeveilNetwork | None,
    layers: _Layers,
    steps: Sequence[Step],
    tile: int | None,
    dry: Dry,
    views: Sequence[Any] = (),
) -> tuple[_Layers, list[Any], list[Tensor]]:
    """Go on from `layers`, whose background is left as it is.

    Returns:
        The layers; the first and the last picture behind the present veil, what `views` is
        at the start (see `estimate_from_views`); and for each derain step the probabilities of
        rain, (N,), as far as the network can tell.
    """
    background, *seen = layers
    views = list(views) or [background]
    probabilities = []
    for step in steps:
        new = background.blank(3)
        if step == "deveil":
            assert deveil is not None  # `check_order` saw to it
            remove_from_canvas(deveil, views, new, layers.streak_map)
            views = [new]
        else:
            found = [layer and layer.blank(layer.channels) for layer in seen]
            rain = _run(network, background, _Layers(new, *found), tile, dry)
            if rain is not None:
                probabilities.append(rain)
            for layer, more in zip(seen, found, strict=True):
                if layer is not None:
                    layer.add(more)
            views = [views[0], new]
        background = new
    return _Layers(background, *seen), views, probabilities


def _run(
    network: Jorder, source: AnyCanvas, target: _Layers, tile: int | None, dry: Dry
) -> Tensor | None:
    """Run `network` over all of `source`, writing to `target`.

    Where memory runs out, pictures are run one by one, then in smaller and smaller tiles.

    Returns:
        The probabilities of rain, float64 (N,); None where the network cannot tell.
    """
    halo = round_up(network.receptive_field + GATE_WINDOW // 2, network.multiple)
    smallest = 2 * halo + network.multiple
    if tile is not None and tile < smallest:
        raise UserError(
            f"tile must be at least {smallest} px for {network.name}, which sees {halo} px to "
            f"each side, got {tile}; use a larger tile, or None for the whole picture"
        )
    count, height, width = source.shape
    longest = max(height, width)
    pixels_at_once = windows.PIXELS_AT_ONCE if tile is None else tile**2
    pictures_at_once = max(1, min(pixels_at_once // (height * width), count))
    rain = torch.empty(count, dtype=torch.float64)
    while True:
        try:
            for first in range(0, count, pictures_at_once):
                batch = list(range(first, min(first + pictures_at_once, count)))
                rain[batch] = _run_batch(network, source, target, batch, tile, halo, dry)
            return None if network.presence is None else rain
        except RuntimeError as error:
            edge = min(tile or longest, longest)
            smaller = max(edge // 2, _SMALLEST_RETRY * halo)
            if not _is_out_of_memory(error) or (pictures_at_once == 1 and smaller >= edge):
                raise
        # outside the except clause, which would keep the memory of the failed run alive
        if pictures_at_once > 1:
            pictures_at_once = 1
        else:
            tile = smaller


def _run_batch(
    network: Jorder,
    source: AnyCanvas,
    target: _Layers,
    batch: list[int],
    tile: int | None,
    halo: int,
    dry: Dry,
) -> Tensor:
    """Run `network` over some pictures of `source`; those that are dry are copied.

    Returns:
        The probabilities of rain, float64 (n,), on the CPU: 1 where the network cannot tell.
    """
    _, height, width = source.shape
    device = next(network.parameters()).device
    cues, rain = None, torch.ones(len(batch), dtype=torch.float64)
    raining = torch.ones(len(batch), dtype=torch.bool)
    if network.presence is not None:
        cues = _cues(network, source, batch, tile)
        rain = _probability(network, cues).cpu().double()
        if dry == "leave":
            raining = rain >= network.dry_threshold
            cues = cues[raining.to(cues.device)]
    wet = [index for index, rains in zip(batch, raining.tolist(), strict=True) if rains]
    left = [index for index in batch if index not in wet]
    for row in spans(height, tile, halo, network.multiple, network.fold):
        for column in spans(width, tile, halo, network.multiple, network.fold):
            for pictures in filter(None, (wet, left)):
                rainy = source.read(pictures, row.source, column.source)
                if pictures is wet:
                    derained = _derain_window(network, rainy.to(device), cues)
                else:
                    nothing = torch.zeros_like(rainy)
                    derained = Derained(rainy, nothing, nothing[:, :1])
                for layer, part in zip(target, derained, strict=True):
                    if layer is not None:
                        kept = part[..., row.keep, column.keep]
                        layer.write(pictures, row.target, column.target, kept)
    return rain


def _is_out_of_memory(error: RuntimeError) -> bool:
    # the CPU allocator raises plain RuntimeErrors
    messages = ("not enough memory", "DefaultCPUAllocator")
    return isinstance(error, torch.OutOfMemoryError) or any(m in str(error) for m in messages)
