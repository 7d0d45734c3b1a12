"""Pipeline transforms `JorderDerain` and `SynthesizeRain` on BGR `results` dicts.

They belong right behind the image loader, rain before deraining. They change only
`results['img']`, which keeps its shape and dtype.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jorder_preproc import transforms
from jorder_preproc.functional import rain_image
from jorder_preproc.openmmlab.images import change_array
from jorder_preproc.rain.identity import image_name
from jorder_preproc.rain.presets import RainPreset
from jorder_preproc.registry import TRANSFORMS


@TRANSFORMS.register_module()
class JorderDerain(transforms.JorderDerain):
    """Derain `results['img']`, bit-identical to the torchvision transform.

    Arguments and errors are those of `jorder_preproc.JorderDerain`. Loaders fork their workers,
    in which CUDA cannot start: see `DerainHook` with `where='batch'` for GPUs.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        results["img"] = change_array(results["img"], lambda image: self.transform(image, {}))
        return results


@TRANSFORMS.register_module()
class SynthesizeRain(transforms.SynthesizeRain):
    """Put rain on `results['img']`, the same as the torchvision transform on the same image.

    The image's id is the path `results['img_path']` below `data_root`, or the file name without
    a root or for files elsewhere. So the rain does not depend on where the data are, and is
    that of `jorder rain DATA_ROOT`. Images without a path, such as arrays given to an
    inferencer, have the digest of their pixels as id.

    Args:
        preset, seed: see `jorder_preproc.SynthesizeRain`.
        data_root: of the data set. Without it, files of one name in different folders get the
            same rain.
    """

    def __init__(
        self,
        preset: str | RainPreset = "heavy",
        seed: int = 0,
        data_root: str | Path | None = None,
    ):
        super().__init__(preset, seed)
        self._data_root = data_root

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        path = results.get("img_path")
        name = None if path is None else image_name(path, self._data_root)
        results["img"] = change_array(
            results["img"], lambda image: rain_image(image, self.preset, self.seed, name)
        )
        return results
