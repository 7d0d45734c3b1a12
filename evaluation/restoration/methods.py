"""Rows of the restoration tables: our derainers, and other methods to compare with."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.datasets.layouts.base import check_unique, some
from evaluation.downstream.checkpoints import file_sha256
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import derain
from jorder_preproc.image_files import list_images, read_rgb
from jorder_preproc.models import list_models, load_deveil_model, load_model
from jorder_preproc.models.shipped import SHIPPED
from jorder_preproc.models.weights import DEVEIL_MODEL, find_weights

INPUT = "input"
"""Name of the row of the rainy images."""

TILE_PX = 1024
"""Side of the windows in which large images are derained, to bound memory."""

_DEVEIL = "+deveil"
_CALLABLE = re.compile(r"(?P<module>[\w.]+):(?P<name>[\w.]+)")


@dataclass(frozen=True)
class Restorer:
    """A row of the tables.

    Attributes:
        name: of the row.
        restore: from the names of set and image, and O, float RGB (3, H, W), in [0, 1], to
            an estimate of B of that shape.
        version: by the names of set and image, a text that changes whenever the result does.
        about: provenance for `restoration.json`.
    """

    name: str
    restore: Callable[[str, str, Tensor], Tensor]
    version: Callable[[str, str], str]
    about: Mapping[str, str] = field(default_factory=dict)


def make_input_row() -> Restorer:
    """The row of the rainy images."""
    return Restorer(INPUT, lambda _set, _image, rainy: rainy, lambda _set, _image: INPUT)


def check_names(rows: Sequence[Restorer]) -> None:
    """See that no two rows have one name."""
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise UserError(f"two rows have one name, of {', '.join(names)}; rename one of them")


def shipped_derainers() -> list[str]:
    """Networks whose weights come with the package."""
    return [name for name in list_models() if name in SHIPPED]


def open_derainer(
    text: str, device: str | torch.device = "cpu", deveil_weights: str | Path | None = None
) -> Restorer:
    """One of our networks.

    Args:
        text: `NAME`, `NAME=FILE.safetensors` for other weights, or `NAME+deveil` and
            `NAME+deveil=FILE.safetensors` to deveil, too (Sec. 5.2).
        device: where to run it.
        deveil_weights: in place of the shipped ones.
    """
    title, _, file = text.partition("=")
    name = title.removesuffix(_DEVEIL)
    network = load_model(name, file or None, device)
    about = {"network": name, "weights_sha256": file_sha256(find_weights(name, file or None))}
    deveil = None
    if title.endswith(_DEVEIL):
        deveil_path = find_weights(DEVEIL_MODEL, deveil_weights)
        deveil = load_deveil_model(deveil_path, device)
        about["deveil_sha256"] = file_sha256(deveil_path)

    def restore(_set: str, _image: str, rainy: Tensor) -> Tensor:
        return derain(
            network, rainy, tile=TILE_PX, deveil=deveil is not None, deveil_model=deveil
        ).background

    version = " ".join(about.values())
    # with its folder: every training names its weights alike
    row = f"{title} ({'/'.join(Path(file).with_suffix('').parts[-2:])})" if file else title
    return Restorer(row, restore, lambda _set, _image: version, about)


def open_method(text: str, images: Mapping[str, Sequence[str]]) -> Restorer:
    """A derainer from elsewhere.

    Args:
        text: `NAME=module:callable`, which takes and gives a float RGB tensor (3, H, W) in
            [0, 1] on the CPU; `NAME=FILE.onnx`, with one input and a first output of float32
            (1, 3, H, W), RGB in [0, 1], also run on the CPU; or `NAME=FOLDER` with results:
            FOLDER/SET/IMAGE or, for one set, FOLDER/IMAGE, with any suffix.
        images: the names of the images of each set.

    Raises:
        ValueError: none of these, no such callable, a network that cannot be read or is of
            another kind, no onnxruntime to run it, or images without a result.
    """
    name, _, target = text.partition("=")
    if not name or not target:
        raise UserError(
            f"--method must be NAME=module:callable, NAME=FILE.onnx or NAME=FOLDER, got {text}"
        )
    if Path(target).is_dir():
        return _from_folder(name, Path(target), images)
    if target.lower().endswith(".onnx"):
        return _from_onnx(name, Path(target))
    match = _CALLABLE.fullmatch(target)
    if match is None:
        raise UserError(
            f"--method {text}: no folder {target}, and neither module:callable nor FILE.onnx; "
            "check the path"
        )
    return _from_callable(name, match["module"], match["name"])


def _from_callable(name: str, module_name: str, path: str) -> Restorer:
    try:
        module = importlib.import_module(module_name)
        function: Any = attrgetter(path)(module)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"--method {name}={module_name}:{path}: {error}; check the name, and that the module "
            "lies where Python looks (PYTHONPATH)"
        ) from error
    if not callable(function):
        raise UserError(f"--method {name}: {module_name}:{path} is a {type(function).__name__}")
    source = getattr(module, "__file__", None)
    version = file_sha256(source) if source else module_name

    def restore(_set: str, _image: str, rainy: Tensor) -> Tensor:
        with torch.inference_mode():
            return function(rainy.clone())  # it may change its input

    about = {"callable": f"{module_name}:{path}", "source_sha256": version}
    return Restorer(name, restore, lambda _set, _image: f"{path} {version}", about)


def _from_onnx(name: str, path: Path) -> Restorer:
    if not path.is_file():
        raise UserError(f"--method {name}: no file {path}; check the path")
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"--method {name}: {path.name} needs onnxruntime ({error}); "
            "pip install --editable '.[onnxruntime]'"
        ) from error
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise UserError(f"--method {name}: {path} cannot be read ({error})") from error
    inputs = session.get_inputs()
    kinds = [f"{each.name} {each.type} {each.shape}" for each in inputs]
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        raise UserError(
            f"--method {name}: {path} must take one float32 input (1, 3, H, W), but takes "
            f"{', '.join(kinds)}; wrap it in a function and give module:callable"
        )

    def restore(set_name: str, image: str, rainy: Tensor) -> Tensor:
        try:
            result = session.run(None, {inputs[0].name: rainy[None].numpy()})[0]
        except Exception as error:
            raise UserError(
                f"--method {name}: {path.name} takes {kinds[0]} and fails on {set_name}/{image}, "
                f"{tuple(rainy[None].shape)}: {error}"
            ) from error
        return torch.from_numpy(result)[0]

    version = file_sha256(path)
    about = {"onnx": str(path), "onnx_sha256": version}
    return Restorer(name, restore, lambda _set, _image: version, about)


def _from_folder(name: str, folder: Path, images: Mapping[str, Sequence[str]]) -> Restorer:
    results: dict[tuple[str, str], Path] = {}
    missing = []
    for set_name, names in images.items():
        inner = folder / set_name
        if not inner.is_dir():
            if len(images) > 1:
                raise UserError(
                    f"--method {name}: no folder {inner}; the results of several sets must lie "
                    "in one folder per set"
                )
            inner = folder
        paths = list_images(inner)
        check_unique((path.stem for path in paths), inner)
        by_stem = {path.stem: path for path in paths}
        for image in names:
            path = by_stem.get(Path(image).stem)
            if path is None:
                missing.append(f"{set_name}/{image}")
            else:
                results[set_name, image] = path
    if missing:
        raise UserError(
            f"--method {name}: {folder} has no result for {len(missing)} images: "
            f"{some(missing)}; results have the name of the rainy image, with any suffix"
        )
    return Restorer(
        name,
        lambda set_name, image, _rainy: read_rgb(results[set_name, image]),
        lambda set_name, image: file_sha256(results[set_name, image]),
        {"folder": str(folder)},
    )
