"""What is timed: networks by what runs them, and rainy photographs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from evaluation.datasets.photos import built_in_photographs
from evaluation.speed.prenet import PReNet
from jorder_preproc.backends import Backend, Precision, use_backend
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.models import build_model, get_variant, load_deveil_model, load_model
from jorder_preproc.models.shipped import SHIPPED
from jorder_preproc.rain import synthesize_rain

REFERENCE = "jorder_e_practical"
"""The authors' light network, which times are compared with."""

DEVEIL = "+deveil"
PRENET = "PReNet"

Layout = Literal["channels-last", "NCHW"]
_FORMATS: dict[Layout, torch.memory_format] = {
    "channels-last": torch.channels_last,
    "NCHW": torch.contiguous_format,
}


class Derainer(NamedTuple):
    """A network and what runs it.

    Attributes:
        name: of a network, with `+deveil` for deveiling, too (Sec. 5.2); or `PReNet`.
        backend, precision: see `jorder_preproc.backends`.
        layout: of the features in memory; None is that of the loaded network.
    """

    name: str
    backend: Backend = "torch"
    precision: Precision = "float32"
    layout: Layout | None = None

    @property
    def run_by(self) -> str:
        """Backend, precision and layout."""
        return " ".join(filter(None, self[1:]))


def list_derainers(
    names: Sequence[str], backends: Sequence[str], precisions: Sequence[str]
) -> list[Derainer]:
    """Every network with every backend in every precision.

    PyTorch in float32 runs in both layouts, other backends and precisions in that of the loaded
    network; `PReNet` runs in float32 alone.

    Raises:
        UserError: no such network, backend or precision.
    """
    for what, given, choices in (
        ("backend", backends, get_args(Backend)),
        ("precision", precisions, get_args(Precision)),
    ):
        wrong = set(given) - set(choices)
        if wrong:
            raise UserError(f"{what} must be one of {', '.join(choices)}, got {min(wrong)!r}")
    for name in names:
        if name != PRENET:
            get_variant(name.removesuffix(DEVEIL))
    found = []
    for name, backend, precision in itertools.product(names, backends, precisions):
        plain = (backend, precision) == ("torch", "float32")
        if plain or name != PRENET:
            layouts = get_args(Layout) if plain else (None,)
            found += [Derainer(name, backend, precision, layout) for layout in layouts]  # type: ignore[arg-type]
    return found


def build(derainer: Derainer, device: str) -> Callable[[Tensor], Tensor]:
    """A function from uint8 images (N, 3, H, W) on the CPU to derained ones like them.

    The network has the shipped weights, or random ones where none are shipped. It derains
    images without rain, too.

    Raises:
        UserError: the backend cannot be used here; see `use_backend`.
    """
    name, backend, precision, layout = derainer
    base = name.removesuffix(DEVEIL)
    if name == PRENET:
        network: torch.nn.Module = PReNet()
    else:
        network = load_model(base) if base in SHIPPED else build_model(base)
    network.eval().requires_grad_(False).to(device)
    if layout is not None:
        network.to(memory_format=_FORMATS[layout])  # type: ignore[call-overload]
    if name == PRENET:

        @torch.no_grad()
        def run(images: Tensor) -> Tensor:
            background = network(pixels_to_float(images).to(device))
            return float_to_pixels(background.clamp(0, 1), images.dtype).cpu()

        return run
    use_backend(network, backend, precision)  # type: ignore[arg-type]
    deveil_model = load_deveil_model(device=device) if name.endswith(DEVEIL) else None
    return lambda images: (
        derain(
            network,  # type: ignore[arg-type]
            images,
            dry="derain",
            deveil=deveil_model is not None,
            deveil_model=deveil_model,
        ).background
    )


def rainy_photographs(size: tuple[int, int], count: int) -> Tensor:
    """The built-in photographs, scaled to width and height, in heavy rain, uint8 (N, 3, H, W).

    From the seventh on they are the first ones again.
    """
    width, height = size
    rainy = []
    for name, load in itertools.islice(built_in_photographs().items(), count):
        clean = interpolate(load()[None], (height, width), mode="bicubic", antialias=True)[0]
        rainy.append(synthesize_rain(clean.clamp(0, 1), "heavy", 1, name).rainy)
    return float_to_pixels(
        torch.stack(list(itertools.islice(itertools.cycle(rainy), count))), torch.uint8
    )
