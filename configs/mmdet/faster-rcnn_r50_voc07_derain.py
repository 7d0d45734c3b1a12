"""Faster R-CNN R50 on VOC 2007 test, derained at native size.

    python tools/test.py CONFIG CHECKPOINT (of an mmdet checkout, VOC in data/VOCdevkit)

CHECKPOINT is mmdet's for faster-rcnn_r50_fpn_1x_voc0712, 79.5 mAP on clear images (their
figure). Cost: 4,952 images through both networks. Scores in rain: not measured yet.
"""

_base_ = "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"

test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="jorder_preproc.JorderDerain"),
    dict(type="Resize", scale=(1000, 600), keep_ratio=True),
    # avoid bboxes being resized
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
# the host's data loaders hold its own pipeline, whatever test_pipeline is
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
