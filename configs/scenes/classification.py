"""The classifier of the built-in benchmark: timm's test_resnet, 12 classes.

python -m evaluation.datasets.synthetic.train classification

The card of the weights has cost and scores:
evaluation/datasets/synthetic/weights/scenes_classification.md
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
        data_root=data_root,
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
        data_root=data_root,
        pipeline=[dict(type="LoadPillowImage"), dict(type="ResizeAndPack", settings=settings)],
        test_mode=True,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="TopOne")
val_evaluator = test_evaluator
default_hooks = dict(checkpoint=dict(save_best="top-1", rule="greater"))
