"""The paper's networks by name, untrained or with weights (Sec. 4-5)."""

from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder, StageOutput, build_model
from jorder_preproc.models.variants import get_variant, list_deveil_models, list_models
from jorder_preproc.models.weights import load_deveil_model, load_model, save_weights

__all__ = [
    "DeveilNetwork",
    "Jorder",
    "StageOutput",
    "build_model",
    "get_variant",
    "list_deveil_models",
    "list_models",
    "load_deveil_model",
    "load_model",
    "save_weights",
]
