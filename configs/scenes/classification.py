"""The classifier of the built-in benchmark: timm's test_resnet, 12 classes.

python -m training.scenes classification
"""

_base_ = "./_base_.py"

data_root = "data/scenes"
settings = dict(
    input_size=(3, 160, 160),
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    crop_pct=0.95,
    crop_mode="center",
)
augment = dict(scale=(0.35, 1.0), color_jitter=0.4)

model = dict(type="Classifier", name="test_resnet", settings=settings, classes=12)

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="ImageNetValidation",
        root=data_root,
        pipeline=[
            dict(type="LoadPillowImage"),
            dict(type="CameraEffects"),
            dict(type="ResizeAndPack", settings=settings, augment=augment),
        ],
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ImageNetValidation",
        root=data_root,
        pipeline=[dict(type="LoadPillowImage"), dict(type="ResizeAndPack", settings=settings)],
        test_mode=True,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="TopOne")
val_evaluator = test_evaluator
default_hooks = dict(checkpoint=dict(save_best="top-1", rule="greater"))
train_cfg = dict(max_epochs=10)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=300),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=0,
        T_max=10,
        eta_min_ratio=0.005,
        convert_to_iter_based=True,
    ),
]
