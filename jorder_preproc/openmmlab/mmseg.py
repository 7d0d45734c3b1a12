"""The data preprocessor of mmseg, deraining."""

from __future__ import annotations

from typing import Any

from mmseg.models import SegDataPreProcessor

from jorder_preproc.openmmlab.batch import DerainInputs, derain_inputs
from jorder_preproc.registry import MODELS


@MODELS.register_module()
class DerainSegDataPreprocessor(SegDataPreProcessor):
    """`SegDataPreProcessor` of mmseg that derains batches first, on the model's device.

    In a config one line over the host's own:
    `model = dict(data_preprocessor=dict(type='jorder_preproc.DerainSegDataPreprocessor'))`.

    Args:
        derain: arguments of `DerainInputs`: model, weights, tile, train, deveil,
            deveil_weights, dry.
        **host: arguments of `SegDataPreProcessor`.

    Raises:
        TypeError: an argument that neither of the two knows.
        ValueError: unknown model, `deveil` or `dry`, or weights of a deveil network without
            `deveil`.
        FileNotFoundError: no such weights.
    """

    def __init__(self, derain: dict[str, Any] | None = None, **host: Any):
        super().__init__(**host)
        derain_inputs(self, DerainInputs(**(derain or {})))
