"""The shipped derainer: jorder_e_lite on clean photographs with drawn rain.

python -m training configs/training/jorder_e_lite.py --photos DIR --val-photos DIR

9,000 iterations took 41 minutes on two CPU cores, in bfloat16. The card of the shipped weights
tells what six such runs, one upon the other, reached: 30.16 dB over `light`, `heavy` and
`rain800`, from 20.98 dB; a single run alone was not measured.
"""

_base_ = "./_base_/runner.py"

iterations = 12_000
patch = 128
batch_size = 9

model = dict(
    type="DerainTraining",
    name="jorder_e_lite",
    distance="l1",
    streak_weight=0.01,
    mask_weight=0.01,
)

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,
    sampler=dict(type="DrawSampler"),
    dataset=dict(
        type="RainPatches",
        patch=patch,
        mixture=dict(wide=0.5, heavy=0.2, light=0.15, rain800=0.15),
        layers_per_preset=300,
        pairs_weight=0.2,
        dry=0.25,
        veiled=0.15,
        varied=0.5,
    ),
    collate_fn=dict(type="default_collate"),
)
optim_wrapper = dict(
    type="BFloat16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-3, weight_decay=1e-4, betas=(0.9, 0.99)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=200, T_max=iterations - 200, eta_min=1e-6),
]

train_cfg = dict(
    type="IterBasedTrainLoop",
    max_iters=iterations,
    val_interval=2000,
)

custom_hooks = [
    dict(type="KeepBestWeights"),
    dict(type="EMAHook", momentum=0.001, begin_iter=500),
]
