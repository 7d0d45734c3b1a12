"""The detector of the built-in benchmark: ATSS on a narrow ResNet-18, 12 classes.

python -m evaluation.datasets.synthetic.train detection

The card of the weights has cost and scores:
evaluation/datasets/synthetic/weights/scenes_detection.md
"""

_base_ = "./_base_.py"

default_scope = "mmdet"
data_root = "data/scenes"
classes = ("balloon", "barrel", "bench", "bicycle", "bus", "car", "cone", "dog", "person")
classes += ("sign", "traffic_light", "tree")

model = dict(
    type="ATSS",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        deep_stem=True,
        style="pytorch",
    ),
    neck=dict(type="FPN", in_channels=[16, 32, 64, 128], out_channels=48, num_outs=4),
    bbox_head=dict(
        type="ATSSHead",
        num_classes=12,
        in_channels=48,
        feat_channels=48,
        stacked_convs=2,
        norm_cfg=dict(type="GN", num_groups=8, requires_grad=True),
        anchor_generator=dict(
            type="AnchorGenerator",
            ratios=[1.0],
            octave_base_scale=6,
            scales_per_octave=1,
            strides=[4, 8, 16, 32],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(type="ATSSAssigner", topk=9),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=500,
        min_bbox_size=0,
        score_thr=0.03,
        nms=dict(type="nms", iou_threshold=0.55),
        max_per_img=60,
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomResize", scale=(256, 192), ratio_range=(0.8, 1.4), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(192, 256), allow_negative_crop=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="CameraEffects"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(256, 192), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
scenes = dict(
    type="VOCDataset",
    metainfo=dict(classes=classes),
    data_root=data_root,
    ann_file="VOC2007/ImageSets/Main/test.txt",
    data_prefix=dict(sub_data_root="VOC2007/"),
)
train_dataloader = dict(
    batch_size=12,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        filter_cfg=dict(filter_empty_gt=True, min_size=8), pipeline=train_pipeline, **scenes
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=test_pipeline, test_mode=True, **scenes),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="VOCMetric", metric="mAP", eval_mode="11points")
val_evaluator = test_evaluator
default_hooks = dict(checkpoint=dict(save_best="pascal_voc/mAP", rule="greater"))
