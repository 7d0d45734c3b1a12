"""As `derain.py`, and the veil of rain accumulation is taken off as well, where there is one.

    _base_ = ["mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", ".../mixins/derain_deveil.py"]

Each image is judged after its streaks are removed; one without a visible veil comes out
as with `derain.py`. For hosts that set no `custom_hooks`, which MMEngine does not merge. In a
config whose host sets them, write instead:

    default_hooks = dict(derain=dict(type="jorder_preproc.DerainHook", deveil="auto"))

Inferencers run no hooks: use `patch_config(cfg, deveil="auto")` for them.
"""

custom_hooks = [dict(type="jorder_preproc.DerainHook", deveil="auto")]
