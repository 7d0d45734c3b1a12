"""Pipeline transforms `JorderDerain` and `SynthesizeRain` on BGR `results` dicts.

They belong right behind the image loader, rain before deraining. They change only
`results['img']`, which keeps its shape and dtype.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from jorder_preproc import transforms
from jorder_preproc.functional import rain_image
from jorder_preproc.functional.derain import Deveil, Dry
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.openmmlab.images import change_array
from jorder_preproc.rain.identity import image_name
from jorder_preproc.rain.presets import RainPreset
from jorder_preproc.registry import TRANSFORMS


@TRANSFORMS.register_module()
class JorderDerain:
    """Derain `results['img']`, bit-identical to the torchvision transform.

    Args:
        model: a name of `list_models`, or a network, used as and where it is.
        weights: a safetensors file for a named network; None takes the shipped ones.
        device: where a named network runs; None is the CPU. Loaders fork their workers,
            in which CUDA cannot start: see `DerainHook` with `where='batch'` for GPUs.
        tile: see `derain`.
        deveil, deveil_weights, dry: see `jorder_preproc.JorderDerain`.

    Raises:
        TypeError: model is neither a name nor a network.
        ValueError: unknown name, weights or device for a ready network, unknown `deveil` or
            `dry`, or `deveil_weights` without `deveil`.
        FileNotFoundError: no such weights.
        RuntimeError: at the first image, if CUDA is asked for in a forked worker.
    """

    def __init__(
        self,
        model: str | Jorder = "jorder_e_lite",
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        tile: int | None = None,
        deveil: Deveil = False,
        deveil_weights: str | Path | None = None,
        dry: Dry = "leave",
    ):
        self._derainer = transforms.JorderDerain(
            model, weights, device, tile, deveil, deveil_weights, dry
        )

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Derain `results['img']`."""
        results["img"] = change_array(
            results["img"], lambda image: self._derainer.transform(image, {})
        )
        return results

    def __repr__(self) -> str:
        return repr(self._derainer)


@TRANSFORMS.register_module()
class SynthesizeRain:
    """Put rain on `results['img']`, the same as the torchvision transform on the same image.

    The image's id is the path `results['img_path']` below `data_root`, or the file name without
    a root or for files elsewhere. So the rain does not depend on where the data are, and is
    that of `jorder rain DATA_ROOT`. Images without a path, such as arrays given to an
    inferencer, have the digest of their pixels as id.

    Args:
        preset: see `synthesize_rain`.
        seed: >= 0; every seed gives every image other rain.
        data_root: of the data set. Without it, files of one name in different folders get the
            same rain.

    Raises:
        ValueError: unknown preset, or a negative seed.
    """

    def __init__(
        self,
        preset: str | RainPreset = "heavy",
        seed: int = 0,
        data_root: str | Path | None = None,
    ):
        self._rain = transforms.SynthesizeRain(preset, seed)
        self._data_root = data_root

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Put rain on `results['img']`."""
        path = results.get("img_path")
        name = None if path is None else image_name(path, self._data_root)
        results["img"] = change_array(
            results["img"],
            lambda image: rain_image(image, self._rain.preset, self._rain.seed, name),
        )
        return results

    def __repr__(self) -> str:
        return repr(self._rain)
