r"""Fine-tuning: the shipped weights of jorder_e_lite, or those of --weights, trained on.

python -m training configs/training/jorder_e_lite_finetune.py --photos DIR --streaks DIR \
    --val-photos DIR

The last of the runs that made the shipped weights are such ones, averaged in pairs: see their
card. 10,500 iterations take 1.2 hours on a CPU core with bfloat16 instructions.
"""

_base_ = "./jorder_e_lite.py"

iterations = 10_500

model = dict(feature_from=0, weights="jorder_preproc/weights/jorder_e_lite.safetensors")
# first iteration, edge of the patches in px, patches in a batch
stages = [(0, 128, 5), (iterations * 4 // 7, 192, 2)]
train_dataloader = dict(dataset=dict(stages=stages))
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=8e-4, weight_decay=1e-4, fused=True))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=100, T_max=iterations - 100, eta_min=1e-6),
]
train_cfg = dict(max_iters=iterations, val_interval=3500)
custom_hooks = [
    dict(type="StopOnInvalidLoss"),
    dict(type="KeepBestWeights"),
    dict(type="EMAHook", momentum=0.001, begin_iter=0),
]
