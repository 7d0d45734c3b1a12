"""A derainer with Hugging Face's methods for folders and model repositories.

Needs the extra `hub`: pip install 'jorder-preproc[hub]'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.weights import load_model, save_weights

try:
    from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
except ImportError as error:
    raise ImportError(
        "jorder_preproc.hub needs huggingface_hub: pip install 'jorder-preproc[hub]'"
    ) from error

_FILE = "model.safetensors"
_OF_DOWNLOADS = ("revision", "cache_dir", "force_download", "local_files_only", "token")


class PretrainedJorder(
    Jorder,
    PyTorchModelHubMixin,
    library_name="jorder-preproc",
    license="apache-2.0",
    pipeline_tag="image-to-image",
    tags=["deraining"],
):
    """`Jorder` with `from_pretrained` and `save_pretrained` for folders.

    `push_to_hub`, and `from_pretrained` of a repository, need the network and are not tested.
    The folder holds `config.json`, a card and `model.safetensors`; the last is also what
    `--weights` and `JorderDerain(weights=...)` take.
    """

    @classmethod
    def of(cls, network: Jorder) -> PretrainedJorder:
        """The same network, for inference; it shares its weights."""
        same = cls(
            name=network.name,
            label_convention=network.label_convention,
            input_scale=network.input_scale,
            gated=network.gated,
            dry_threshold=network.dry_threshold,
        )
        same.load_state_dict(network.state_dict(), assign=True)
        same.weights_file = network.weights_file
        same.requires_grad_(False).eval()
        return same

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(self, save_directory / _FILE)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, map_location: str = "cpu", **options: Any
    ) -> PretrainedJorder:
        file = Path(model_id, _FILE)
        if not file.parent.is_dir():
            download = {option: options[option] for option in _OF_DOWNLOADS}
            file = Path(hf_hub_download(model_id, _FILE, **download))
        # of config.json no more than the name: the file with the weights has the rest, too
        return cls.of(load_model(options["name"], file, map_location))
