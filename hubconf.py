"""Entry points for torch.hub: `torch.hub.load(FOLDER, "jorder_e_lite", source="local")`."""

import os

import torch

from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder
from jorder_preproc.models.shipped import JorderDeveilLite_Weights, JorderELite_Weights
from jorder_preproc.models.weights import load_deveil_model, load_model
from jorder_preproc.transforms import JorderDerain as jorder_derain

__all__ = ["jorder_derain", "jorder_deveil_lite", "jorder_e_lite"]

dependencies = ["numpy", "PIL", "safetensors", "torch", "torchvision"]


def jorder_e_lite(
    weights: JorderELite_Weights | str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
) -> Jorder:
    """The default derainer, trained; see `jorder_preproc.load_model`."""
    return load_model("jorder_e_lite", weights, device)


def jorder_deveil_lite(
    weights: JorderDeveilLite_Weights | str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
) -> DeveilNetwork:
    """The network that removes rain accumulation, trained; see `load_deveil_model`."""
    return load_deveil_model(weights, device)
