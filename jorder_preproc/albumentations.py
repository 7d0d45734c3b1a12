"""albumentations transforms `JorderDerain` and `SynthesizeRain`.

They take uint8 images and float32 ones in [0, 1], RGB (H, W, 3) or grey (H, W) and (H, W, 1), and
change images alone: masks, boxes and keypoints stay as they are. Needs the extra `albumentations`:
pip install 'jorder-preproc[albumentations]'.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from jorder_preproc import transforms
from jorder_preproc.functional.image import rain_image

try:
    from albumentations import ImageOnlyTransform
except ImportError as error:
    raise ImportError(
        "jorder_preproc.albumentations needs albumentations: "
        "pip install 'jorder-preproc[albumentations]'"
    ) from error


class JorderDerain(ImageOnlyTransform):  # type: ignore[misc]
    """Derain the image; put it before everything that resizes or normalises.

    The network is loaded at the first image, in each process.

    Args:
        p: probability of deraining.
        **derain: arguments of `jorder_preproc.JorderDerain`; `model` must be a name.

    Raises:
        TypeError: unknown argument, or a model that is no name.
        ValueError, FileNotFoundError: as of `jorder_preproc.JorderDerain`.
    """

    def __init__(self, p: float = 1.0, **derain: Any):
        super().__init__(p=p)
        if not isinstance(derain.get("model", ""), str):
            raise TypeError(
                f"model must be a name, got {type(derain['model']).__name__}, which cannot be "
                "serialised; save its weights and pass weights=FILE"
            )
        self._derain = transforms.JorderDerain(**derain)
        self._given = tuple(derain)

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:
        """The derained image, like `img`."""
        derained: NDArray[Any] = self._derain.transform(img, {})
        return derained

    def get_transform_init_args(self) -> dict[str, Any]:
        """The arguments given, as JSON can hold them: weights as paths."""
        return {name: getattr(self._derain, name) for name in self._given}


class SynthesizeRain(ImageOnlyTransform):  # type: ignore[misc]
    """Put rain on the image.

    Args:
        preset: name of a preset of `jorder_preproc.rain`.
        seed: None draws other rain at every call, with the generator of albumentations, which
            `Compose(seed=...)` sets; several images of one call get the same rain, and so does
            another image in a replay. With a seed, >= 0, an image always gets the same
            rain, that of `jorder_preproc.SynthesizeRain` without an image id.
        p: probability of rain.

    Raises:
        ValueError: unknown preset, or a negative seed.
    """

    def __init__(self, preset: str = "heavy", seed: int | None = None, p: float = 1.0):
        super().__init__(p=p)
        transforms.SynthesizeRain(preset, seed or 0)  # reports mistakes
        self.preset = preset
        self.fixed_seed = seed

    def get_params(self) -> dict[str, Any]:
        """The seed of the rain, and the image's id, None for a digest of its pixels."""
        if self.fixed_seed is not None:
            return {"rain_seed": self.fixed_seed, "image_id": None}
        return {"rain_seed": self.py_random.randrange(2**32), "image_id": 0}

    def apply(
        self, img: NDArray[Any], rain_seed: int, image_id: int | None, **params: Any
    ) -> NDArray[Any]:
        """The rainy image, like `img`."""
        rainy: NDArray[Any] = rain_image(img, self.preset, rain_seed, image_id)
        return rainy

    def get_transform_init_args(self) -> dict[str, Any]:
        return {"preset": self.preset, "seed": self.fixed_seed}
