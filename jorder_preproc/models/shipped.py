"""The weights that come with the package, in torchvision's way.

Everything is read from the package; nothing is downloaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import Weights, WeightsEnum

SHIPPED_WEIGHTS = Path(__file__).parents[1] / "weights"


class ShippedWeights(WeightsEnum):  # type: ignore[misc]
    """Weights of one network; the members are its versions, `DEFAULT` is the one to use.

    `meta` holds, beside the facts that torchvision's weights have:

    - `model`: name of the network.
    - `sha256`: of the file, as hexadecimal digits.
    - `scores`: by kind of rain, mean luminance PSNR, dB, of the rainy (`psnr_rainy`) and of the
      restored images (`psnr`), 30 photographs each; for `dry` images against themselves. They
      are those of the card, which has their command, more of them, and what they are bad at.
    - `recipe`: the training configuration; the card says how the run went.
    """

    @property
    def file(self) -> Path:
        """The safetensors file."""
        return SHIPPED_WEIGHTS / str(self.value.url)

    @property
    def card(self) -> Path:
        """The model card, Markdown."""
        return self.file.with_suffix(".md")

    @property
    def url(self) -> str:
        return self.file.resolve().as_uri()

    def get_state_dict(self) -> dict[str, Tensor]:
        """The tensors in the file, float16; `load_model` makes a network of them."""
        return load_file(self.file)


def _derain_transform(**arguments: Any) -> nn.Module:
    from jorder_preproc.transforms import JorderDerain  # which needs this module

    return JorderDerain(**arguments)


def _psnr(rainy: float | None, restored: float) -> dict[str, float]:
    return {"psnr": restored} if rainy is None else {"psnr_rainy": rainy, "psnr": restored}


class JorderELite_Weights(ShippedWeights):
    """Of `jorder_e_lite`; `transforms()` is a `JorderDerain` with them."""

    SYNTHETIC_V1 = Weights(
        url="jorder_e_lite.safetensors",
        transforms=partial(_derain_transform, model="jorder_e_lite"),
        meta={
            "model": "jorder_e_lite",
            "num_params": 1_327_977,
            "min_size": (1, 1),
            "license": "Apache-2.0",
            "recipe": "configs/training/jorder_e_lite.py",
            "sha256": "fcfb062f97e1859d817dee23af9dccaf3c9b881f3f811c78c73d7595e3f62e0b",
            "scores": {
                "light": _psnr(26.33, 39.58),
                "heavy": _psnr(14.47, 28.73),
                "storm": _psnr(16.21, 31.02),
                "rain800": _psnr(20.66, 31.06),
                "light_256": _psnr(26.13, 39.10),
                "heavy_256": _psnr(14.52, 28.16),
                "albumentations_drizzle": _psnr(21.34, 39.91),
                "albumentations_heavy": _psnr(17.56, 30.33),
                "albumentations_torrential": _psnr(14.39, 27.28),
                "kornia": _psnr(18.67, 34.30),
                "imgaug": _psnr(19.50, 25.95),
                "dry": _psnr(None, 100.00),
                "dry_256": _psnr(None, 100.00),
            },
        },
    )
    DEFAULT = SYNTHETIC_V1


class JorderDeveilLite_Weights(ShippedWeights):
    """Of `jorder_deveil_lite`; `transforms()` is a `JorderDerain` that deveils with them, too."""

    SYNTHETIC_V1 = Weights(
        url="jorder_deveil_lite.safetensors",
        transforms=partial(_derain_transform, deveil=True),
        meta={
            "model": "jorder_deveil_lite",
            "num_params": 550_786,
            "min_size": (1, 1),
            "license": "Apache-2.0",
            "recipe": "configs/training/jorder_deveil_lite.py",
            "sha256": "868e17dd5d35d1c7cf21de698856ba830e74712ddca0b9d92712d27af7d94be2",
            "scores": {"dry": _psnr(None, 39.65), "accumulation": _psnr(23.52, 29.25)},
        },
    )
    DEFAULT = SYNTHETIC_V1


SHIPPED: dict[str, ShippedWeights] = {
    weights.meta["model"]: weights
    for weights in (JorderELite_Weights.DEFAULT, JorderDeveilLite_Weights.DEFAULT)
}
"""The default weights, by network."""
