"""Registries of the scope `jorder_preproc`, for `type='jorder_preproc.NAME'` in any config.

MMEngine imports this module by its name when it meets the scope, whatever the default scope,
and the locations when a name is looked up. If this import failed, MMEngine would look for NAME
in the package and return the torchvision transform: so only MMEngine is imported here.
"""

from importlib.util import find_spec

from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

SCOPE = "jorder_preproc"

TRANSFORMS = Registry(
    "transform",
    parent=MMENGINE_TRANSFORMS,
    scope=SCOPE,
    locations=["jorder_preproc.openmmlab.transforms"],
)
HOOKS = Registry(
    "hook", parent=MMENGINE_HOOKS, scope=SCOPE, locations=["jorder_preproc.openmmlab.hook"]
)
# a data preprocessor for each host that is installed
MODELS = Registry(
    "model",
    parent=MMENGINE_MODELS,
    scope=SCOPE,
    locations=[
        f"jorder_preproc.openmmlab.{host}" for host in ("mmdet", "mmseg") if find_spec(host)
    ],
)
