"""A data preprocessor for mmseg that derains."""

from __future__ import annotations

from typing import Any

from mmseg.models import SegDataPreProcessor

from jorder_preproc.openmmlab.batch import DerainInputs, derain_inputs
from jorder_preproc.registry import MODELS


@MODELS.register_module()
class DerainSegDataPreprocessor(SegDataPreProcessor):
    """`SegDataPreProcessor` of mmseg that derains batches first, on the model's device.

    It replaces the type of the host's data preprocessor in a config:
    `model = dict(data_preprocessor=dict(type='jorder_preproc.DerainSegDataPreprocessor'))`.

    Args:
        derain: arguments of `DerainInputs`.
        **host: arguments of `SegDataPreProcessor`.

    Raises:
        TypeError: an unknown argument.
        ValueError, FileNotFoundError: see `jorder_preproc.JorderDerain`.
    """

    def __init__(self, derain: dict[str, Any] | None = None, **host: Any):
        super().__init__(**host)
        derain_inputs(self, DerainInputs(**(derain or {})))
