"""Rain removal as a preprocessing plug-in for vision models (JORDER-E)."""

# `derain` is the function from here on; its module stays at hand as `from jorder_preproc.derain`
from jorder_preproc.derain import Derained, derain
from jorder_preproc.models.jorder import build_model
from jorder_preproc.models.variants import list_models
from jorder_preproc.models.weights import load_model
from jorder_preproc.rain import synthesize_rain
from jorder_preproc.transforms import JorderDerain, SynthesizeRain, derain_image, rain_image

__version__ = "0.1.0"

__all__ = [
    "Derained",
    "JorderDerain",
    "SynthesizeRain",
    "__version__",
    "build_model",
    "derain",
    "derain_image",
    "list_models",
    "load_model",
    "rain_image",
    "synthesize_rain",
]
