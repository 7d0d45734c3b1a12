"""Derain what any config validates and tests on, whole batches, on the model's device.

    _base_ = ["mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", ".../mixins/derain_batch.py"]

After Resize, so other results than those of `derain.py`. For hosts that set no
`custom_hooks`, which MMEngine does not merge. In a config whose host sets them, write
instead:

    default_hooks = dict(derain=dict(type="jorder_preproc.DerainHook", where="batch"))

Inferencers run no hooks: use the data preprocessors for them, see docs/openmmlab.md.
"""

custom_hooks = [dict(type="jorder_preproc.DerainHook", where="batch")]
