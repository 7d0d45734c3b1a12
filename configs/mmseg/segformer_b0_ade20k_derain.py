"""SegFormer-B0 on ADE20K validation, derained at native size.

    python tools/test.py CONFIG CHECKPOINT (of an mmseg checkout, ADE20K in data/ade)

CHECKPOINT is mmseg's for segformer_mit-b0_8xb2-160k_ade20k-512x512, 37.41 mIoU
on clear images (their figure). Cost: 2,000 images through both networks. Scores in
rain: not measured yet.
"""

# "mmseg::" finds only a package named mmsegmentation, which the fork's is not
_base_ = (
    __import__("mmseg").__path__[0]
    + "/.mim/configs/segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py"
)

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="jorder_preproc.JorderDerain"),
    dict(type="Resize", scale=(2048, 512), keep_ratio=True),
    # the ground truth is not resized
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="PackSegInputs"),
]
# the host's data loaders hold its own pipeline, whatever test_pipeline is
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
