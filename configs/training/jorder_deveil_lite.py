"""The shipped deveil network: clean photographs behind a drawn veil (Sec. 5.2, 5.3).

python -m training configs/training/jorder_deveil_lite.py --photos DIR --val-photos DIR

About 33 minutes on one CPU core, in bfloat16. The best weights, after 1,800 iterations, took the
preset `accumulation` from 23.52 to 29.11 dB, and clear photographs came back at 44.10 dB. The
card of the shipped weights has the runs that those come from.
"""

_base_ = "./_base_/runner.py"

iterations = 2_400

model = dict(type="DeveilTraining", name="jorder_deveil_lite")

train_dataloader = dict(
    batch_size=12,
    num_workers=1,
    sampler=dict(type="DrawSampler"),
    dataset=dict(
        type="VeiledPhotos",
        shape=(320, 480),
        clear=0.1,
        mixture=dict(heavy=0.5, wide=0.5),
        layers_per_preset=100,
    ),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(dataset=dict(presets=["clean", "accumulation"]))

optim_wrapper = dict(
    type="FasterPrecisionOptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-3, weight_decay=0.03, betas=(0.9, 0.99), fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=200, T_max=iterations - 200, eta_min=1e-6),
]

train_cfg = dict(
    type="IterBasedTrainLoop",
    max_iters=iterations,
    val_interval=300,
)

custom_hooks = [
    dict(type="KeepBestWeights"),
    dict(type="EMAHook", momentum=0.005, begin_iter=300),
]
