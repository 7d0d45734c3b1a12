"""A data preprocessor for mmdet that derains."""

from mmdet.models.data_preprocessors import DetDataPreprocessor

from jorder_preproc.openmmlab.batch import DerainingPreprocessor
from jorder_preproc.registry import MODELS


@MODELS.register_module()
class DerainDetDataPreprocessor(DerainingPreprocessor, DetDataPreprocessor):  # type: ignore[misc]
    """`DetDataPreprocessor` of mmdet that derains; see `DerainingPreprocessor`."""
