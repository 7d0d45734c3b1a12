"""Derain what any config validates and tests on, behind the image loader, at native size.

    _base_ = ["mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", ".../mixins/derain.py"]

For hosts that set no `custom_hooks`, which MMEngine does not merge. In a config whose host
sets them, write instead:

    default_hooks = dict(derain=dict(type="jorder_preproc.DerainHook"))

Inferencers run no hooks: use `patch_config` or a config of `mmdet/` or `mmseg/` for them.
"""

custom_hooks = [dict(type="jorder_preproc.DerainHook")]
