"""Take the rain off a picture: pad, run, gate, crop, clamp, in one piece or tile by tile.

`jorder_preproc.derain` is the function of this module, not the module itself; import more
from here as `from jorder_preproc.derain import derain_pixels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d, relu

from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.rain.synthesize import VISIBLE

GATE_WINDOW = 5
"""Height and width, px, of what counts as near a pixel; see `region_gate`."""

_SMALLEST_SIDE = 16
_PIXELS_AT_ONCE = 1 << 20
# in halos: half of the edge is overlap; smaller tiles would take many times as long
_SMALLEST_RETRY = 4


class Derained(NamedTuple):
    """A picture without its rain, and the rain.

    Attributes:
        background: B, float, shaped like the image, in [0, 1].
        streak_map: S, float, shaped like the image, >= 0.
        region_mask: R, float, (1, H, W) or (N, 1, H, W), 0 or 1.
    """

    background: Tensor
    streak_map: Tensor
    region_mask: Tensor


class DerainedPixels(NamedTuple):
    """What `derain_pixels` returns.

    Attributes:
        background: B, like the pixels given.
        streak_map: S, like the pixels given and on their scale, cut off at white; None
            where it was not asked for.
        region_mask: R, uint8 (H, W), 0 or 255; None where it was not asked for.
    """

    background: NDArray[Any]
    streak_map: NDArray[Any] | None
    region_mask: NDArray[np.uint8] | None


def derain(network: Jorder, image: Tensor, *, tile: int | None = None) -> Derained:
    """Estimate B, S and R of Eq. 2 from a rainy picture O.

    Networks with the paper's labels change a picture only where they see rain: their own
    region probability gates the change, B = O + g (B' - O); see `region_gate`. Networks
    with the release's labels are not gated: S is what they take off, and R where that
    shows.

    The picture runs on the device of the network; the results are on the picture's own.
    Large batches are run a few pictures at a time, with the same result up to rounding.

    Args:
        network: what `load_model` or `build_model` gives.
        image: O, float RGB (3, H, W) or (N, 3, H, W), in [0, 1], any H, W >= 1.
        tile: run in windows of this height and width, px, which bounds the memory; the
            result is that of the whole picture up to 1e-4. None runs the whole picture.
            Where memory runs out, smaller tiles are tried in either case.

    Returns:
        B, S and R in the dtype and on the device of the image.

    Raises:
        TypeError: image is not a tensor, or not float.
        ValueError: wrong shape, values outside [0, 1], NaN, or a tile too small for what
            the network sees to each side of a pixel.
    """
    _check_image(image)
    frames = image.detach()
    frames = frames if image.ndim == 4 else frames[None]
    count, _, height, width = frames.shape
    results = Derained(
        torch.empty_like(frames),
        torch.empty_like(frames),
        torch.empty_like(frames[:, :1]),
    )

    def read(batch: slice, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Tensor:
        return frames[batch][..., torch.from_numpy(rows)[:, None], torch.from_numpy(columns)]

    def write(batch: slice, rows: slice, columns: slice, derained: Derained) -> None:
        for result, part in zip(results, derained, strict=True):
            result[batch, :, rows, columns] = part

    _run(network, (count, height, width), tile, read, write)
    return results if image.ndim == 4 else Derained(*(result[0] for result in results))


def derain_pixels(
    network: Jorder,
    pixels: NDArray[Any],
    *,
    tile: int = 512,
    with_streak_map: bool = False,
    with_region_mask: bool = False,
) -> DerainedPixels:
    """`derain` for large integer pictures: only one tile at a time is ever held as float.

    The background is that of `derain` with the same tile, rounded.

    Args:
        network: what `load_model` or `build_model` gives.
        pixels: O, uint8 or uint16 RGB (H, W, 3), any H, W >= 1.
        tile: height and width of the windows that are run, px; see `derain`. Larger ones
            overlap less and are faster, but take more memory.
        with_streak_map: return S as well.
        with_region_mask: return R as well.

    Raises:
        TypeError: not a NumPy array of uint8 or uint16.
        ValueError: not (H, W, 3), or the tile is too small.
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
    height, width, _ = pixels.shape
    background = np.empty_like(pixels)
    streak_map = np.empty_like(pixels) if with_streak_map else None
    region_mask = np.empty((height, width), np.uint8) if with_region_mask else None

    def read(batch: slice, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Tensor:
        window = torch.from_numpy(pixels[rows[:, None], columns])
        return pixels_to_float(window.permute(2, 0, 1))[None]

    def write(batch: slice, rows: slice, columns: slice, derained: Derained) -> None:
        background[rows, columns] = _to_pixels(derained.background, pixels.dtype)
        if streak_map is not None:
            streak_map[rows, columns] = _to_pixels(derained.streak_map, pixels.dtype)
        if region_mask is not None:
            region_mask[rows, columns] = _to_pixels(derained.region_mask, np.uint8)[..., 0]

    _run(network, (1, height, width), tile, read, write)
    return DerainedPixels(background, streak_map, region_mask)


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


def _check_image(image: Tensor) -> None:
    if not isinstance(image, Tensor):
        raise TypeError(
            f"image must be a float tensor, got {type(image).__name__}; "
            "use jorder_preproc.JorderDerain for PIL images and NumPy arrays"
        )
    if not image.is_floating_point():
        raise TypeError(
            f"image must be float in [0, 1], got {image.dtype}; divide 8-bit pixels by 255, "
            "or use jorder_preproc.JorderDerain, which takes them"
        )
    shape = tuple(image.shape)
    if image.ndim not in (3, 4) or shape[-3] != 3 or 0 in shape[-2:]:
        raise ValueError(
            f"image must be RGB (3, H, W) or (N, 3, H, W) with H, W >= 1, got {shape}; "
            "repeat a grey channel three times, drop an alpha channel"
        )
    if image.numel() == 0:
        return
    low, high = (float(value) for value in image.detach().aminmax())
    if not (low >= 0 and high <= 1):  # also catches NaN
        raise ValueError(
            f"image must be finite and in [0, 1], got values from {low:g} to {high:g}; "
            "divide 8-bit pixels by 255, undo a normalisation, or clamp"
        )


@torch.inference_mode()
def _derain_window(network: Jorder, rainy: Tensor) -> Derained:
    """Run the network once; `rainy` is on its device, (N, 3, H, W) as it needs them."""
    dtype = next(network.parameters()).dtype
    precise = torch.promote_types(rainy.dtype, torch.float32)
    seen = rainy.to(dtype)
    output = network(seen)[-1]
    change = output.background.to(precise) - seen.to(precise)
    if network.label_convention == "paper":
        streak_map = relu(output.streak_map)
        rain = output.mask_logits.float().softmax(1)[:, 1:]
        region_mask = rain > 0.5
        change = region_gate(rain) * change
    else:
        streak_map = relu(-output.streak_map)
        region_mask = streak_map.amax(1, keepdim=True) > VISIBLE
    return Derained(
        (rainy.to(precise) + change).clamp(0, 1), streak_map.to(precise), region_mask.to(precise)
    )


class _Span(NamedTuple):
    """One tile along one axis.

    Attributes:
        source: pixels of the picture that the network sees, padding by reflection.
        keep: the part of these whose result counts.
        target: where that part lies in the picture.
    """

    source: NDArray[np.intp]
    keep: slice
    target: slice


def _spans(size: int, tile: int | None, halo: int, multiple: int) -> Iterator[_Span]:
    """Cut an axis of `size` pixels into tiles that overlap by `halo` to each side.

    All starts are multiples of `multiple`, so that every tile is folded like the whole.
    Nothing is cut off at the borders of the picture: there a tile sees what the whole does.
    """
    padded = _round_up(max(size, _SMALLEST_SIDE), multiple)
    # 0 1 2 3 2 1 0 1 ...; a single pixel is repeated
    period = max(2 * (size - 1), 1)
    position = np.arange(padded) % period
    reflected = np.minimum(position, period - position)
    step = padded if tile is None or tile >= padded else (tile - 2 * halo) // multiple * multiple
    for start in range(0, size, step):
        stop = min(start + step, size)
        first, last = max(start - halo, 0), min(start + step + halo, padded)
        yield _Span(reflected[first:last], slice(start - first, stop - first), slice(start, stop))


def _run(
    network: Jorder,
    shape: tuple[int, int, int],
    tile: int | None,
    read: Callable[[slice, NDArray[np.intp], NDArray[np.intp]], Tensor],
    write: Callable[[slice, slice, slice, Derained], None],
) -> None:
    """Run `network` over `shape` = (N, H, W).

    Where memory runs out, pictures are run one by one, then in smaller and smaller tiles.

    `read(batch, rows, columns)` gives the float pictures at these indices, `write(batch,
    rows, columns, derained)` takes the result for that part.
    """
    halo = _round_up(network.receptive_field + GATE_WINDOW // 2, network.multiple)
    smallest = 2 * halo + network.multiple
    if tile is not None and tile < smallest:
        raise ValueError(
            f"tile must be at least {smallest} px for {network.name}, which sees {halo} px to "
            f"each side, got {tile}; use a larger tile, or None for the whole picture"
        )
    count, height, width = shape
    longest = max(height, width)
    pixels_at_once = _PIXELS_AT_ONCE if tile is None else tile**2
    pictures_at_once = max(1, min(pixels_at_once // (height * width), count))
    device = next(network.parameters()).device
    while True:
        try:
            for index in range(0, count, pictures_at_once):
                batch = slice(index, index + pictures_at_once)
                for row in _spans(height, tile, halo, network.multiple):
                    for column in _spans(width, tile, halo, network.multiple):
                        rainy = read(batch, row.source, column.source).to(device)
                        derained = _derain_window(network, rainy)
                        kept = (part[..., row.keep, column.keep] for part in derained)
                        write(batch, row.target, column.target, Derained(*kept))
            return
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


def _is_out_of_memory(error: RuntimeError) -> bool:
    # the CPU allocator raises plain RuntimeErrors
    messages = ("not enough memory", "DefaultCPUAllocator")
    return isinstance(error, torch.OutOfMemoryError) or any(m in str(error) for m in messages)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _to_pixels(values: Tensor, dtype: Any) -> NDArray[Any]:
    torch_dtype = torch.uint16 if dtype == np.uint16 else torch.uint8
    return float_to_pixels(values[0].clamp(max=1), torch_dtype).permute(1, 2, 0).cpu().numpy()
