"""A data preprocessor for mmseg that derains."""

from mmseg.models import SegDataPreProcessor

from jorder_preproc.openmmlab.batch import DerainingPreprocessor
from jorder_preproc.registry import MODELS


@MODELS.register_module()
class DerainSegDataPreprocessor(DerainingPreprocessor, SegDataPreProcessor):  # type: ignore[misc]
    """`SegDataPreProcessor` of mmseg that derains; see `DerainingPreprocessor`."""
