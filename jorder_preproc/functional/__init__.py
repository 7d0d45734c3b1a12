"""Deraining and deveiling as functions of a model and an image."""

from jorder_preproc.functional.derain import Derained, derain, derain_pixels, rain_probability
from jorder_preproc.functional.deveil import Deveiled, deveil

__all__ = ["Derained", "Deveiled", "derain", "derain_pixels", "deveil", "rain_probability"]
