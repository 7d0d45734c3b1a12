"""Weights on disk: safetensors files, the shipped ones, and the authors' release."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import MissingFileError, UserError
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.shipped import SHIPPED, ShippedWeights
from jorder_preproc.models.variants import get_variant, list_deveil_models

FORMAT_VERSION = "1"
DEVEIL_MODEL = "jorder_deveil_lite"
"""The deveil network whose weights are shipped, for every derainer."""

AnyWeights = ShippedWeights | str | os.PathLike[str]
"""Shipped weights, or a safetensors file."""

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save: zip since 1.6, a bare pickle before
_RELEASES = ("jorder_e_practical", "jorder_e")
_RELEASE_SCALE = 255.0


def load_model(
    name: str = "jorder_e_lite",
    weights: AnyWeights | None = None,
    device: str | torch.device = "cpu",
) -> Jorder:
    """A trained network for inference: evaluation mode, no gradients, channels last.

    The global random state does not change.

    Args:
        name: a row of the variants table; see `list_models`.
        weights: a safetensors file written by `save_weights` or `jorder convert`, or shipped
            weights, such as `JorderELite_Weights.DEFAULT`; None takes the default ones of this
            network.
        device: of the network.

    Raises:
        ValueError: unknown name; no weights are shipped for it; or the file is not
            safetensors, is damaged, or belongs to another network; shipped weights are damaged
            if their SHA-256 is not that of their `meta`.
        FileNotFoundError: no such file.
    """
    get_variant(name)  # an unknown name is reported before a missing file
    path = find_weights(name, weights)
    metadata, tensors = _read(path)
    variant = metadata["variant"]
    if variant in list_deveil_models():
        raise UserError(
            f"{path} holds weights of the deveil network {variant}, not of {name}; "
            "they go beside those of a derainer: load_deveil_model(weights)"
        )
    if variant != name:
        raise UserError(
            f"{path} holds weights of {variant}, not of {name}; "
            f"ask for the model {variant!r} or pass another file"
        )
    try:
        with torch.device("meta"):  # no storage: it takes that of the tensors
            network = Jorder(
                name,
                metadata["label_convention"],  # type: ignore[arg-type]
                float(metadata["input_scale"]),
                False if metadata.get("gated") == "no" else None,
                float(metadata.get("dry_threshold", 0)),
            )
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} has wrong metadata: {error}; export it again") from error
    _fill(network, tensors, path)
    network.weights_file = path
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def load_deveil_model(
    weights: AnyWeights | None = None, device: str | torch.device = "cpu"
) -> DeveilNetwork:
    """A trained deveil network for inference: evaluation mode, no gradients.

    Arguments and errors are those of `load_model`.
    """
    path = find_weights(DEVEIL_MODEL, weights)
    metadata, tensors = _read(path)
    name = metadata["variant"]
    if name not in list_deveil_models():
        raise UserError(
            f"{path} holds weights of {name}, which is no deveil network; expected weights of "
            f"{' or '.join(list_deveil_models())}"
        )
    with torch.device("meta"):
        network = DeveilNetwork(name)
    _fill(network, tensors, path)
    return network.to(device)


def save_weights(
    network: Jorder | DeveilNetwork,
    path: str | os.PathLike[str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a network and the metadata for loading it as safetensors, atomically.

    Args:
        network: to write.
        path: of the file.
        dtype: of the weights in the file, such as float16, which halves its size; None takes
            that of the network. Loaded networks are float32.

    Raises:
        OSError: the file cannot be written.
    """
    metadata = {"format_version": FORMAT_VERSION, "variant": network.name}
    if isinstance(network, Jorder):
        metadata["label_convention"] = network.label_convention
        metadata["input_scale"] = f"{network.input_scale:g}"
        if network.detects_rain and not network.gated:
            metadata["gated"] = "no"
        if network.presence is not None:
            metadata["dry_threshold"] = str(float(network.dry_threshold))
    tensors = {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in network.state_dict().items()
    }
    with atomic_path(path) as temporary:
        # not save_file, whose files only their owner can read
        temporary.write_bytes(save(tensors, metadata))


def convert_release(source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> Jorder:
    """Convert a checkpoint of the authors' release to a file for `load_model`.

    No code in the checkpoint is run.

    Args:
        source: their state dict, `.pt` or `.pth`: of the network with 32 channels and 3
            blocks (`jorder_e_practical`) or with 64 and 9 (`jorder_e`).
        destination: safetensors file to write.

    Returns:
        The network; `name` is its row.

    Raises:
        ValueError: not such a checkpoint, damaged, or holding more than tensors.
        FileNotFoundError: no such file.
        OSError: the file cannot be written.
    """
    tensors = _rename_release(_read_checkpoint(Path(source)), source)
    for name in _RELEASES:
        network = Jorder(name, label_convention="release", input_scale=_RELEASE_SCALE)
        if not _differences(network, tensors):
            network.load_state_dict(tensors)
            save_weights(network.eval(), destination)
            return network
    found = "; ".join(f"{name}: {_differences(Jorder(name), tensors)}" for name in _RELEASES)
    raise UserError(
        f"{source} is not one of the authors' released networks ({', '.join(_RELEASES)}); {found}"
    )


def find_weights(name: str, weights: AnyWeights | None = None) -> Path:
    """The file with the weights of a network.

    Args:
        name: of the network.
        weights: see `load_model`.

    Raises:
        ValueError: None, and no weights are shipped for this network.
        FileNotFoundError: no such file.
    """
    if weights is None:
        if name not in SHIPPED:
            raise UserError(
                f"no weights for {name} come with the package (for: {', '.join(SHIPPED)}); "
                "train some, or pass weights=FILE"
            )
        weights = SHIPPED[name]
    path = weights.file if isinstance(weights, ShippedWeights) else Path(weights)
    if not path.is_file():
        raise MissingFileError(
            f"weights must be a safetensors file or shipped ones, {path} is neither; check the "
            "path, or leave weights out for the shipped ones"
        )
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file that `save_weights` wrote."""
    digests = {weights.file.resolve(): weights.meta["sha256"] for weights in SHIPPED.values()}
    expected = digests.get(path.resolve())
    if expected is not None:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise UserError(
                f"{path} is not the file that came with jorder-preproc: its sha256 is {found}, "
                f"not {expected}; install the package again, and pass weights of your own from "
                "another folder by weights=FILE"
            )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {
                key: file.get_tensor(key).to(torch.float32, copy=True)
                for key in file.keys()  # noqa: SIM118
            }
    except SafetensorError as error:
        with path.open("rb") as raw:
            start = raw.read(4)
        if start.startswith(_PICKLE_STARTS):
            raise UserError(
                f"{path} is a pickle, which could run code when read, so it was not; load_model "
                "reads safetensors: turn a released checkpoint into one with "
                f"`jorder convert {path} OUT.safetensors`"
            ) from error
        raise UserError(
            f"{path} is damaged or not a safetensors file ({error}); download or export it again"
        ) from error
    missing = {"format_version", "variant"} - metadata.keys()
    if missing:
        raise UserError(
            f"{path} was not written by jorder-preproc (no {', '.join(sorted(missing))} in its "
            "metadata); write weights with jorder_preproc.models.save_weights or `jorder convert`"
        )
    if metadata["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {metadata['format_version']}, this jorder-preproc reads "
            f"{FORMAT_VERSION}; upgrade it"
        )
    return metadata, tensors


def _fill(network: Jorder | DeveilNetwork, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a network, for inference."""
    differences = _differences(network, tensors)
    if differences:
        raise UserError(f"{path} does not fit {network.name}: {differences}; export it again")
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path} holds numbers that are not finite, in {key}; export it again")
    network.load_state_dict(tensors, assign=True)
    network.requires_grad_(False).eval()


def _differences(network: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """How the tensors differ from the weights of the network; empty if they fit."""
    expected = network.state_dict()
    parts = []
    for what, keys in (
        ("missing", expected.keys() - tensors.keys()),
        ("unexpected", tensors.keys() - expected.keys()),
    ):
        if keys:
            parts.append(f"{len(keys)} tensors {what}, {min(keys)} for one")
    for key in sorted(expected.keys() & tensors.keys()):
        if expected[key].shape != tensors[key].shape:
            parts.append(
                f"{key} is {tuple(tensors[key].shape)} instead of {tuple(expected[key].shape)}"
            )
            break
    return ", ".join(parts)


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise MissingFileError(f"no checkpoint {path}; check the path")
    try:
        # weights_only: a pickle may hold code, which this refuses to run
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways
        raise UserError(
            f"{path} cannot be read as plain tensors: it is damaged, not a checkpoint, or holds "
            "code, which was not run; download it again from the authors' page"
        ) from error
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise UserError(f"{path} must hold a plain state dict, names to tensors, and does not")
    return dict(content)


_RELEASE_MODULES = {
    "encoder": "encoder",
    "mask_estimator1": "heads.mask.0",
    "mask_estimator2": "heads.mask.1",
    "level_estimator1": "heads.streaks.0",
    "level_estimator2": "heads.streaks.1",
    "mask_F_w_encoder1": "heads.from_mask.scale.0",
    "mask_F_w_encoder2": "heads.from_mask.scale.2",
    "mask_F_b_encoder1": "heads.from_mask.shift.0",
    "mask_F_b_encoder2": "heads.from_mask.shift.2",
    "level_F_w_encoder1": "heads.from_streaks.scale.0",
    "level_F_w_encoder2": "heads.from_streaks.scale.2",
    "level_F_b_encoder1": "heads.from_streaks.shift.0",
    "level_F_b_encoder2": "heads.from_streaks.shift.2",
    "decoder.0": "heads.residual.0",
    "decoder.1": "heads.residual.1",
}
_RELEASE_KEY = re.compile(
    r"jorder(?P<stage>[1-9])\."
    r"(?:updater\.res(?P<block>[1-9])\.conv(?P<conv>[1-6])|(?P<module>.+))"
    r"\.(?P<parameter>weight|bias)"
)


def _rename_release(
    tensors: Mapping[str, Tensor], source: str | os.PathLike[str]
) -> dict[str, Tensor]:
    """The tensors under our names instead of the authors'."""
    renamed = {}
    for key, tensor in tensors.items():
        match = _RELEASE_KEY.fullmatch(key)
        if match and match["block"]:
            path, second = divmod(int(match["conv"]) - 1, 2)
            module = f"context.blocks.{int(match['block']) - 1}.paths.{path}.{second}"
        elif match and match["module"] in _RELEASE_MODULES:
            module = _RELEASE_MODULES[match["module"]]
        else:
            raise UserError(
                f"{source} is not a checkpoint of the authors' release: it has the unknown "
                f"tensor {key!r}"
            )
        renamed[f"stages.{int(match['stage']) - 1}.{module}.{match['parameter']}"] = tensor
    return renamed
