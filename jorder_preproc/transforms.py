"""torchvision transforms `JorderDerain` and `SynthesizeRain`, over `jorder_preproc.functional`.

A sample is an image, or tuples, lists and dicts nested in any way. Its images are those of
torchvision v2: every PIL image, `tv_tensors.Image` and `tv_tensors.Video`; only if there are
none of these, the first plain tensor or NumPy array. Everything else (masks, boxes, labels,
text, arrays beside an image) is returned as the very same object.

Types, shapes and dtypes are in the table of `jorder_preproc.images`. Images come back in the
type, dtype, PIL mode, size and on the device they had; opacity and unchanged pixels are
bit-identical.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import get_worker_info
from torchvision import tv_tensors
from torchvision.transforms import v2

from jorder_preproc.backends import Backend, Precision, check_backend, use_backend
from jorder_preproc.functional.derain import Deveil, Dry, check_options, rain_probability
from jorder_preproc.functional.image import derain_image, rain_image
from jorder_preproc.images import to_frames
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.variants import get_variant
from jorder_preproc.models.weights import (
    DEVEIL_MODEL,
    AnyWeights,
    find_weights,
    load_deveil_model,
    load_model,
)
from jorder_preproc.rain.identity import check_image_id
from jorder_preproc.rain.presets import RainPreset, get_preset

_IMAGES = (Image.Image, tv_tensors.Image, tv_tensors.Video)


class _ImageTransform(v2.Transform):  # type: ignore[misc]
    """A transform of the images in a sample; see the docstring of this module."""

    def _needs_transform_list(self, flat_inputs: list[Any]) -> list[bool]:
        # torchvision's rule, with NumPy arrays counted among the plain tensors
        wanted = [isinstance(item, _IMAGES) for item in flat_inputs]
        if any(wanted):
            return wanted
        plain = [_is_plain(item) for item in flat_inputs]
        if not any(plain):
            types = ", ".join(type(item).__name__ for item in flat_inputs) or "nothing"
            raise TypeError(
                f"{type(self).__name__} found no image in the sample: expected a PIL image, "
                f"a tensor or a NumPy array, got {types}; open files with PIL.Image.open"
            )
        wanted[plain.index(True)] = True
        return wanted


class JorderDerain(_ImageTransform):
    """Derain every image of a sample (JORDER-E, Sec. 4 and 5).

    Named networks are loaded at the first image, in each process, so that the transform is
    cheap to build and to send to workers. The network is not a submodule: it is not trained,
    moved or saved with a model that holds the transform.

    The EXIF orientation of a PIL image is kept but not applied: in a photograph that needs
    rotation the network sees rain falling sideways. Apply `PIL.ImageOps.exif_transpose` before,
    as the command `jorder derain` does.

    Args:
        model: a name of `list_models`, or a network, used as it is and where it is.
        weights: of a named network: a safetensors file, or shipped weights, such as
            `JorderELite_Weights.DEFAULT`; None takes the default ones of that network.
        device: where a named network runs; None is the CPU. Results are on the image's device.
        tile: see `derain`.
        deveil: remove the veil of rain accumulation as well (Sec. 5.2): True from every image,
            `"auto"` from those that show one; see `derain`.
        deveil_weights: of a deveil network, as `weights`.
        dry: for networks that can tell whether it rains: `leave` returns an image without rain
            bit for bit, `derain` derains it all the same; see `derain`.
        backend, precision: what runs a named network, and in which precision; see
            `jorder_preproc.backends`.

    Raises:
        TypeError: model is neither a name nor a network.
        ValueError: unknown name; weights, device, backend or precision for a ready network;
            unknown `deveil`, `dry`, `backend` or `precision`; a backend that is not installed;
            or `deveil_weights` without `deveil`.
        FileNotFoundError: no such weights.
        RuntimeError: at the first image, if CUDA is asked for in a forked worker.
    """

    def __init__(
        self,
        model: str | Jorder = "jorder_e_lite",
        weights: AnyWeights | None = None,
        device: str | torch.device | None = None,
        tile: int | None = None,
        deveil: Deveil = False,
        deveil_weights: AnyWeights | None = None,
        dry: Dry = "leave",
        backend: Backend = "torch",
        precision: Precision = "float32",
    ):
        super().__init__()
        # in a dict, where nn.Module does not see them: they are no submodules
        self._networks: dict[str, Any] = {}
        if isinstance(model, str):
            get_variant(model)
            if weights is not None:
                weights = find_weights(model, weights)
            self.model = model
        elif isinstance(model, nn.Module):
            if weights is not None or device is not None:
                raise ValueError(
                    "weights and device are for named networks, model is a ready one; "
                    "load it with them: load_model(name, weights, device)"
                )
            if (backend, precision) != ("torch", "float32"):
                raise ValueError(
                    "backend and precision are for named networks, model is a ready one; "
                    "prepare it by use_backend(model, backend, precision)"
                )
            self._networks["derain"] = model
        else:
            raise TypeError(f"model must be a name or a Jorder network, got {type(model).__name__}")
        self.weights = None if weights is None else str(weights)
        self.device = None if device is None else str(torch.device(device))
        self.tile = tile
        check_options(deveil, dry)
        if deveil_weights is not None:
            if not deveil:
                raise ValueError("deveil_weights are for deveil=True or 'auto', got deveil=False")
            deveil_weights = find_weights(DEVEIL_MODEL, deveil_weights)
        self.deveil = deveil
        self.deveil_weights = None if deveil_weights is None else str(deveil_weights)
        self.dry = dry
        check_backend(backend, precision)
        self.backend = backend
        self.precision = precision

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Derain one image, or frames; see `derain_image`."""
        model, deveil_model = self._load()
        return derain_image(
            model,
            inpt,
            tile=self.tile,
            deveil=self.deveil,
            deveil_model=deveil_model,
            dry=self.dry,
        )

    def rain_probability(self, image: Any) -> float:
        """`jorder_preproc.rain_probability` of one image of any type, in [0, 1].

        Raises:
            TypeError, ValueError: see `derain_image`; several frames; or the network cannot tell.
        """
        frames = to_frames(image)
        if len(frames) != 1:
            raise ValueError(f"image must be one image, got {len(frames)} frames; ask one by one")
        return rain_probability(self._load()[0], frames[0], tile=self.tile).item()

    def _load(self) -> tuple[Jorder, DeveilNetwork | None]:
        """The networks, read at the first call in each process."""
        networks = self._networks
        network = networks.get("derain")
        where = self.device or "cpu" if network is None else next(network.parameters()).device
        worker = get_worker_info()
        if worker and torch.device(where).type == "cuda" and torch.cuda._is_in_bad_fork():
            raise RuntimeError(
                f"JorderDerain should run on {where} in forked DataLoader worker {worker.id}, "
                "where CUDA cannot start; use device='cpu', or a DataLoader with "
                "multiprocessing_context='spawn', or derain whole batches in the main process: "
                "jorder_preproc.derain, or jorder_preproc.DerainHook(where='batch') in MMEngine"
            )
        if network is None:
            network = load_model(self.model, self.weights, where)
            networks["derain"] = use_backend(network, self.backend, self.precision)
        if self.deveil and "deveil" not in networks:
            networks["deveil"] = load_deveil_model(self.deveil_weights, where)
        return networks["derain"], networks.get("deveil")

    def __getstate__(self) -> dict[str, Any]:
        named = "model" in self.__dict__
        return self.__dict__ | {"_networks": {} if named else {"derain": self._networks["derain"]}}


class SynthesizeRain(_ImageTransform):
    """Put rain on every image of a sample, always the same rain on the same image.

    With an image id the rain does not depend on the decoder of the file:
    `SynthesizeRain()(image, image_id="val/0001.jpg")`. In a `Compose`, which passes on no
    arguments, put the id into the sample, under the key `image_id` of a dict anywhere in it:
    `{"image": image, "image_id": "val/0001.jpg"}`. The id is the image's path below the data
    root, `jorder_preproc.rain.image_name(path, data_root)`; all images of a sample share it.
    Without an id the digest of the pixels is used; see `synthesize_rain`.

    Args:
        preset: see `synthesize_rain`.
        seed: >= 0; every seed gives every image other rain.

    Raises:
        TypeError: when called, with an image id that is neither text nor a whole number.
        ValueError: unknown preset, or a negative seed; when called, a sample with several ids.
    """

    def __init__(self, preset: str | RainPreset = "heavy", seed: int = 0):
        super().__init__()
        get_preset(preset)
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        self.preset = preset
        self.seed = seed
        self._image_id: str | int | None = None

    def forward(self, *inputs: Any, image_id: str | int | None = None) -> Any:
        """Put rain on the images of a sample.

        Args:
            inputs: the sample.
            image_id: of its images; None takes the id in the sample, if there is one.
        """
        # a copy: torchvision passes images alone to `transform`, and threads may share self
        named = copy.copy(self)
        named._image_id = _find_image_id(inputs) if image_id is None else image_id
        return super(SynthesizeRain, named).forward(*inputs)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return rain_image(inpt, self.preset, self.seed, self._image_id)


def _find_image_id(sample: Any) -> str | int | None:
    """The value under the key `image_id` of the dicts in a sample, or None."""
    found = set(_image_ids(sample))
    if len(found) > 1:
        names = ", ".join(sorted(map(repr, found)))
        raise ValueError(
            f"expected a sample of one image, got the ids {names}; transform samples one by one"
        )
    return found.pop() if found else None


def _image_ids(sample: Any) -> Iterator[str | int]:
    if isinstance(sample, Mapping):
        for key, value in sample.items():
            if key != "image_id":
                yield from _image_ids(value)
            elif value is not None:
                # detection targets may hold it as a tensor of one number
                number = _is_plain(value) and math.prod(value.shape) == 1
                yield check_image_id(value.item() if number else value)
    elif isinstance(sample, (list, tuple)):
        for part in sample:
            yield from _image_ids(part)


def _is_plain(item: Any) -> bool:
    tensor = isinstance(item, torch.Tensor) and not isinstance(item, tv_tensors.TVTensor)
    return tensor or isinstance(item, np.ndarray)
