"""YOLOX-nano on the images and classes of VOC 2007 test: a detector that two CPU cores run quickly.

    python tools/yolox_nano.py yolox_nano.onnx yolox_nano_voc.pth
    python -m evaluation detection configs/voc/yolox_nano.py yolox_nano_voc.pth \\
        --data VOCdevkit

The checkpoint is that of COCO, with the rows of VOC's classes. Score on VOC 2007 test: not
measured yet.
"""

_base_ = "mmdet::yolox/yolox_nano_8xb8-300e_coco.py"

model = dict(bbox_head=dict(num_classes=20))

test_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="VOCDataset",
        data_root="data/VOCdevkit/",
        ann_file="VOC2007/ImageSets/Main/test.txt",
        data_prefix=dict(sub_data_root="VOC2007/"),
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(416, 416), keep_ratio=True),
            dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
            # behind Resize, so that the boxes keep the size of the image
            dict(type="LoadAnnotations", with_bbox=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(_delete_=True, type="VOCMetric", metric="mAP", eval_mode="11points")
val_evaluator = test_evaluator
