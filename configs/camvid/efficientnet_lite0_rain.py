"""EfficientNet-Lite0 on CamVid, trained with synthetic rain: the alternative to deraining.

    python tools/train.py configs/camvid/efficientnet_lite0_rain.py     (of an mmseg checkout)

Half of the training images get rain, of several presets and seeds. After as many iterations as in
efficientnet_lite0.py, mIoU without rain is 62.82 % on val and 55.56 % on test; docs/benchmarks.md
compares it with deraining.
"""

_base_ = "./efficientnet_lite0.py"

rains = [
    [dict(type="jorder_preproc.SynthesizeRain", preset=preset, seed=seed)]
    for preset in ("light", "heavy", "wide")
    for seed in range(10, 15)
]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    # the same image gets the same rain from one seed: several seeds vary it from epoch to epoch
    dict(type="RandomApply", prob=0.5, transforms=[dict(type="RandomChoice", transforms=rains)]),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(256, 320), cat_max_ratio=0.75, ignore_index=11),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
