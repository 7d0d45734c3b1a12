"""A data preprocessor for mmdet that derains."""

from __future__ import annotations

from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor

from jorder_preproc.openmmlab.batch import DerainInputs, derain_inputs
from jorder_preproc.registry import MODELS


@MODELS.register_module()
class DerainDetDataPreprocessor(DetDataPreprocessor):
    """`DetDataPreprocessor` of mmdet that derains batches first, on the model's device.

    It replaces the type of the host's data preprocessor in a config:
    `model = dict(data_preprocessor=dict(type='jorder_preproc.DerainDetDataPreprocessor'))`.

    Args:
        derain: arguments of `DerainInputs`.
        **host: arguments of `DetDataPreprocessor`.

    Raises:
        TypeError: an unknown argument.
        ValueError, FileNotFoundError: see `jorder_preproc.JorderDerain`.
    """

    def __init__(self, derain: dict[str, Any] | None = None, **host: Any):
        super().__init__(**host)
        derain_inputs(self, DerainInputs(**(derain or {})))
