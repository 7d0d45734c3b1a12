"""The segmenter of the built-in benchmark: DeepLabV3+ on a narrow ResNet-18, 15 classes.

python -m evaluation.datasets.synthetic.train segmentation

The card of the weights has cost and scores:
evaluation/datasets/synthetic/weights/scenes_segmentation.md
"""

_base_ = "./_base_.py"

default_scope = "mmseg"
data_root = "data/scenes"
classes = ("sky", "ground", "wall", "balloon", "barrel", "bench", "bicycle", "bus", "car")
classes += ("cone", "dog", "person", "sign", "traffic_light", "tree")
palette = [[(37 * k) % 256, (91 * k) % 256, (173 * k) % 256] for k in range(1, 16)]
norm_cfg = dict(type="BN", requires_grad=True)

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(192, 256),
    ),
    backbone=dict(
        type="ResNetV1c",
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        norm_cfg=norm_cfg,
        norm_eval=False,
        contract_dilation=True,
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_channels=128,
        in_index=3,
        channels=48,
        dilations=(1, 2, 4, 6),
        c1_in_channels=16,
        c1_channels=16,
        dropout_ratio=0.0,
        num_classes=15,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="RandomResize", scale=(256, 192), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(192, 256), cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="CameraEffects"),
    dict(type="PackSegInputs"),
]
# larger than in training on average, as its largest were: thin objects come out better
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(384, 288), keep_ratio=True),
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="PackSegInputs"),
]
scenes = dict(
    type="BaseSegDataset",
    metainfo=dict(classes=classes, palette=palette),
    img_suffix=".jpg",
    seg_map_suffix=".png",
    reduce_zero_label=True,
    data_root=data_root,
    data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
)
train_dataloader = dict(
    batch_size=12,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline, **scenes),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=test_pipeline, test_mode=True, **scenes),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
val_evaluator = test_evaluator
default_hooks = dict(checkpoint=dict(save_best="mIoU", rule="greater"))
