"""Rain removal as a preprocessing plug-in for vision models (JORDER-E)."""

from jorder_preproc.backends import use_backend
from jorder_preproc.functional import (
    Derained,
    Deveiled,
    derain,
    derain_bgr,
    derain_image,
    deveil,
    rain_image,
    rain_probability,
    synthesize_rain,
)
from jorder_preproc.models.jorder import build_model
from jorder_preproc.models.shipped import JorderDeveilLite_Weights, JorderELite_Weights
from jorder_preproc.models.variants import list_models
from jorder_preproc.models.weights import load_deveil_model, load_model
from jorder_preproc.transforms import JorderDerain, SynthesizeRain

__version__ = "0.1.0"

__all__ = [
    "Derained",
    "Deveiled",
    "JorderDerain",
    "JorderDeveilLite_Weights",
    "JorderELite_Weights",
    "SynthesizeRain",
    "__version__",
    "build_model",
    "derain",
    "derain_bgr",
    "derain_image",
    "deveil",
    "list_models",
    "load_deveil_model",
    "load_model",
    "rain_image",
    "rain_probability",
    "synthesize_rain",
    "use_backend",
]
