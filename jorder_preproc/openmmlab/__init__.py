"""The derainer in MMEngine, mmdet and mmseg, over `jorder_preproc.functional`.

Configs name its parts without imports: `jorder_preproc.JorderDerain` in a pipeline,
`jorder_preproc.DerainHook` as hook, and `jorder_preproc.DerainDetDataPreprocessor` or
`jorder_preproc.DerainSegDataPreprocessor` as data preprocessor. See `docs/openmmlab.md`.
"""

try:
    import mmengine  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"jorder_preproc.openmmlab needs MMEngine ({error}); install it with mmdet and mmseg: "
        "pip install 'jorder-preproc[openmmlab]', and mmcv with its ops as docs/openmmlab.md says"
    ) from error

from jorder_preproc.openmmlab.config import config_path, patch_config
from jorder_preproc.openmmlab.hook import DerainHook
from jorder_preproc.openmmlab.transforms import JorderDerain, SynthesizeRain

__all__ = ["DerainHook", "JorderDerain", "SynthesizeRain", "config_path", "patch_config"]
