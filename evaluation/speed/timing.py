"""Seconds of derainers, taken in turn, and the rate of the machine beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from evaluation.speed.derainers import Derainer, build, rainy_photographs
from evaluation.speed.machine import Layer, best_layers, count_flops
from evaluation.speed.processes import peak_memory
from jorder_preproc.backends import Precision
from jorder_preproc.errors import UserError

_PAUSE_S = 0.02
"""Before each run, since the threads of some runtimes wait busily for a while after the last."""

_WARM_UP = (80, 80)


@dataclass
class Timing:
    """One derainer on images of one size.

    Attributes:
        derainer: what was timed.
        size: width and height, px.
        batch: number of images at a time.
        seconds: of each repeat, after the warm-up; empty where it was skipped.
        flops: floating-point operations of the network in eager PyTorch.
        peak_bytes: memory; see `peak_memory`.
    """

    derainer: Derainer
    size: tuple[int, int]
    batch: int
    seconds: list[float] = field(default_factory=list)
    flops: int | None = None
    peak_bytes: int | None = None

    @property
    def pixels(self) -> int:
        """Of all images of the batch."""
        return self.size[0] * self.size[1] * self.batch

    @property
    def median(self) -> float:
        """Of the seconds."""
        return self.quartiles()[1]

    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the seconds."""
        low, median, high = np.quantile(self.seconds, (0.25, 0.5, 0.75)).tolist()
        return low, median, high


@dataclass
class Measurement:
    """What one run found out on one device.

    Attributes:
        device: where.
        timings: by size and batch, then by derainer.
        best: operations per second of the fastest large layer, by precision.
        remarks: why derainers were left out.
    """

    device: str
    timings: list[Timing]
    best: dict[Precision, float]
    remarks: list[str]


def measure(
    derainers: Sequence[Derainer],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int] = (1,),
    *,
    device: str = "cpu",
    repeats: int = 5,
    max_seconds: float = 4.0,
    advance: Callable[[], object] = lambda: None,
) -> Measurement:
    """Time derainers on rainy photographs.

    Each repeat goes round all derainers, so that a slow moment of the machine affects all of
    them. What would take more than `max_seconds`, by its time for the pixels before, is
    skipped. Derainers whose backend cannot be used are left out.

    Args:
        derainers: what to time.
        sizes: width and height, px.
        batches: numbers of images at a time.
        device: where to run them.
        repeats: of each derainer on each size.
        max_seconds: see above.
        advance: called for each derainer of each repeat of each size and batch.
    """
    runs, remarks = {}, []
    for derainer in derainers:
        try:
            runs[derainer] = build(derainer, device)
        except UserError as error:
            remarks.append(str(error))
    layers = best_layers(device, list(dict.fromkeys(derainer.precision for derainer in derainers)))
    for layer in layers:
        layer.run()
    small = rainy_photographs(_WARM_UP, 1)
    seconds_per_pixel = {}
    for derainer, run in runs.items():
        run(small)  # builds what is built at the first image
        seconds_per_pixel[derainer] = _time(partial(run, small), device) / small[0, 0].numel()
    plain = {d.name: build(Derainer(d.name), device) for d in runs}
    timings: list[Timing] = []
    shapes = [(size, batch) for size in sizes for batch in batches]
    for size, batch in sorted(shapes, key=lambda shape: shape[0][0] * shape[0][1] * shape[1]):
        images = rainy_photographs(size, batch)
        own = {derainer: Timing(derainer, size, batch) for derainer in runs}
        short = [d for d in runs if own[d].pixels * seconds_per_pixel[d] <= max_seconds]
        flops = {
            name: count_flops(partial(plain[name], images))
            for name in dict.fromkeys(derainer.name for derainer in short)
        }
        for derainer in short:
            runs[derainer](images)
            own[derainer].flops = flops[derainer.name]
        for _ in range(repeats):
            for layer in layers:
                layer.seconds.append(_time(layer.run, device))
            for derainer in derainers:
                if derainer in short:
                    seconds = _time(partial(runs[derainer], images), device)
                    own[derainer].seconds.append(seconds)
                advance()
        for derainer in short:
            seconds_per_pixel[derainer] = own[derainer].median / own[derainer].pixels
        timings += own.values()
    for derainer in runs:
        done = [t for t in timings if t.derainer == derainer and t.seconds]
        memory = peak_memory(derainer, [(t.size, t.batch) for t in done], device)
        for timing, peak in zip(done, memory, strict=True):
            timing.peak_bytes = peak
    return Measurement(device, timings, _best(layers), list(dict.fromkeys(remarks)))


def _best(layers: Sequence[Layer]) -> dict[Precision, float]:
    best: dict[Precision, float] = {}
    for layer in layers:
        rate = layer.flops / float(np.median(layer.seconds))
        best[layer.precision] = max(rate, best.get(layer.precision, 0.0))
    return best


def _time(run: Callable[[], object], device: str) -> float:
    time.sleep(_PAUSE_S)
    start = time.perf_counter()
    run()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - start
