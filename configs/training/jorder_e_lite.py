"""The shipped derainer: jorder_e_lite on clean photographs with drawn rain.

python -m training configs/training/jorder_e_lite.py --photos DIR --streaks DIR --val-photos DIR

On two CPU cores with bfloat16 instructions an iteration takes about 0.35 s. The 48,000 of this
recipe have not been run to their end yet. The shipped weights come from several runs with AdamW,
see their card; docs/training.md tells what AdaMuon gained.
"""

_base_ = "./_base_/runner.py"

iterations = 48_000

model = dict(
    type="DerainTraining",
    name="jorder_e_lite",
    distance="psnr",
    streak_weight=0.01,
    mask_weight=0.01,
    presence_weight=0.05,
    second_pass=0.1,
    feature_weight=0.02,
    feature_from=iterations // 2,
)

# first iteration, edge of the patches in px, patches in a batch
stages = [
    (0, 64, 24),
    (iterations * 15 // 100, 96, 12),
    (iterations * 35 // 100, 128, 7),
    (iterations * 80 // 100, 192, 3),
]

train_dataloader = dict(
    batch_size=1,  # of batches: the data set makes them whole, and a resumed run sees the next
    num_workers=1,
    sampler=dict(type="IterationSampler"),
    dataset=dict(
        type="RainPatches",
        stages=stages,
        # each of these parts can be set to 0
        mixture=dict(
            streaks=0.35, lines=0.2, drops=0.05, noise=0.15, light=0.1, heavy=0.1, dense=0.35
        ),
        composition=dict(preset=0.25, add=0.2, screen=0.15, cover=0.1, paint=0.15, linear=0.15),
        layers_per_preset=120,
        dry=0.1,
        small_jpegs=0.5,
        veiled=0.15,
        varied=0.3,
        faint=0.15,
        reduced=0.25,
        noisy=0.25,
        compressed=0.3,
    ),
    collate_fn=dict(type="only_item"),
)
optim_wrapper = dict(
    type="FasterPrecisionOptimWrapper",
    optimizer=dict(type="AdaMuon", lr=1e-3, weight_decay=0.1, betas=(0.9, 0.99)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=500),
    # constant for two thirds
    dict(
        type="LinearLR",
        start_factor=1.0,
        end_factor=0.001,
        by_epoch=False,
        begin=iterations * 2 // 3,
        end=iterations,
    ),
]

train_cfg = dict(
    type="IterBasedTrainLoop",
    max_iters=iterations,
    val_interval=5000,
)

custom_hooks = [
    dict(type="StopOnInvalidLoss"),
    dict(type="KeepBestWeights"),
    dict(type="EMAHook", momentum=0.0005, begin_iter=500),
]
