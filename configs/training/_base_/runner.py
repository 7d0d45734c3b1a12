"""What all training runs share: validation on whole photographs, checkpoints, logs."""

val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="RainyPhotos", presets=["clean", "light", "heavy", "rain800"], seed=1),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = dict(type="PresetPSNR")
val_cfg = dict(type="ValLoop")

default_hooks = dict(
    logger=dict(type="LoggerHook", interval=100),
    checkpoint=dict(
        type="CheckpointHook",
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        save_best="psnr/mean",
        rule="greater",
        backend_args=dict(backend="atomic"),
    ),
)
log_processor = dict(by_epoch=False, window_size=100)
randomness = dict(seed=0)
