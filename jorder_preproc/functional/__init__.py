"""Deraining, deveiling and rain as functions, torchvision's way.

For users: `derain_image` and `rain_image` take images of any type and return the same type;
their tensor forms `derain` and `synthesize_rain` take the same options and also return what
was removed or added. `derain_bgr` takes images as OpenCV has them. `deveil` removes the veil of
rain accumulation alone (dehazing).
"""

from jorder_preproc.functional.derain import Derained, derain, rain_probability
from jorder_preproc.functional.deveil import Deveiled, deveil
from jorder_preproc.functional.image import derain_bgr, derain_image, rain_image
from jorder_preproc.rain.synthesize import synthesize_rain

__all__ = [
    "Derained",
    "Deveiled",
    "derain",
    "derain_bgr",
    "derain_image",
    "deveil",
    "rain_image",
    "rain_probability",
    "synthesize_rain",
]
