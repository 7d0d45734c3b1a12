"""JORDER-E as the paper trains it (Sec. 6): SGD in three steps, 48 x 48 patches, Eq. 7.

    python -m training configs/training/jorder_e_paper.py --photos DIR --val-photos DIR

The paper drops the learning rate after 81 and 108 of 135 epochs, here shares of the
iterations, and gives the last convolution 0.01 of it. Its rate of 0.001 belongs to losses
on 0-255 images; the losses here are means over [0, 1], for which 0.1 plays that part. The
batch size is not in the paper. Score: not measured.
"""

_base_ = "./_base_/runner.py"

iterations = 150_000
last_convolution = dict(lr_mult=0.01)

model = dict(
    type="DerainTraining",
    name="jorder_e",
    distance="l1",
    streak_weight=0.01,
    mask_weight=0.001,
    coarse_to_fine=True,
    gated=False,
)

train_dataloader = dict(
    batch_size=1,  # of batches: the data set makes them whole
    num_workers=4,
    sampler=dict(type="IterationSampler"),
    dataset=dict(
        type="RainPatches",
        stages=[(0, 48, 16)],
        mixture=dict(heavy=1.0),
        layers_per_preset=600,
    ),
    collate_fn=dict(type="only_item"),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        custom_keys={
            "network.stages.0.heads.residual.1": last_convolution,
            "network.stages.1.heads.residual.1": last_convolution,
        }
    ),
)
param_scheduler = [
    dict(
        type="MultiStepLR",
        by_epoch=False,
        milestones=[iterations * 81 // 135, iterations * 108 // 135],
        gamma=0.1,
    )
]

train_cfg = dict(
    type="IterBasedTrainLoop",
    max_iters=iterations,
    val_interval=5000,
)

custom_hooks = [dict(type="KeepBestWeights")]
