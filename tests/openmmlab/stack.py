"""Tiny data sets and small real models, made from the stock configs of mmdet and mmseg."""

import copy
import uuid
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from skimage import data

from jorder_preproc import transforms

VOC_SIZES = [(52, 70), (52, 70), (61, 48)]
ADE_SIZES = [(48, 64), (40, 55)]
HOOK = "jorder_preproc.DerainHook"
DERAIN = "jorder_preproc.JorderDerain"

_XML = """<annotation><size><width>{width}</width><height>{height}</height></size>
<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>6</ymin>
<xmax>40</xmax><ymax>38</ymax></bndbox></object></annotation>"""


def photo(height: int, width: int, index: int = 0) -> np.ndarray:
    """uint8 BGR (H, W, 3)."""
    source = (data.astronaut(), data.coffee(), data.chelsea())[index % 3]
    return np.ascontiguousarray(cv2.resize(source, (width, height))[..., ::-1])


def derained(image: np.ndarray, weights: str, **arguments) -> np.ndarray:
    """What the torchvision transform makes of a BGR image."""
    rgb = transforms.JorderDerain(weights=weights, **arguments)(image[..., ::-1].copy())
    return rgb[..., ::-1]


def make_voc(root: Path) -> Path:
    """A data set in the format of VOC 2007."""
    base = root / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (base / folder).mkdir(parents=True)
    for index, (height, width) in enumerate(VOC_SIZES):
        # png, named as VOC names its images: lossless, so that tests know the pixels
        encoded = cv2.imencode(".png", photo(height, width, index))[1].tobytes()
        (base / f"JPEGImages/{index:06}.jpg").write_bytes(encoded)
        xml = _XML.format(height=height, width=width, name=("dog", "person", "cat")[index])
        (base / f"Annotations/{index:06}.xml").write_text(xml)
    names = "".join(f"{index:06}\n" for index in range(len(VOC_SIZES)))
    for split in ("trainval", "test"):
        (base / f"ImageSets/Main/{split}.txt").write_text(names)
    return root


def make_ade(root: Path) -> Path:
    """A data set in the format of ADE20K."""
    rng = np.random.default_rng(0)
    for split in ("training", "validation"):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True)
        for index, (height, width) in enumerate(ADE_SIZES):
            encoded = cv2.imencode(".png", photo(height, width, index))[1].tobytes()
            (root / f"images/{split}/{index}.jpg").write_bytes(encoded)
            labels = rng.integers(0, 151, (height, width), dtype=np.uint8)
            cv2.imwrite(str(root / f"annotations/{split}/{index}.png"), labels)
    return root


def det_config(root: Path, work_dir: Path) -> Config:
    """The stock Faster R-CNN on VOC 2007, with fewer channels and smaller images."""
    cfg = Config.fromfile(stock("mmdet", "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"))
    shrink(cfg, work_dir)
    cfg.merge_from_dict(
        {
            "model.backbone": dict(depth=18, base_channels=8, init_cfg=None),
            "model.neck": dict(in_channels=[8, 16, 32, 64], out_channels=16),
            "model.rpn_head": dict(in_channels=16, feat_channels=16),
            "model.roi_head.bbox_roi_extractor.out_channels": 16,
            "model.roi_head.bbox_head": dict(in_channels=16, fc_out_channels=32),
            # random weights give all classes low scores
            "model.test_cfg.rpn": dict(nms_pre=100, max_per_img=20),
            "model.test_cfg.rcnn": dict(score_thr=0.0, max_per_img=10),
        }
    )
    for stage in ("val", "test"):
        cfg[f"{stage}_dataloader"].dataset.data_root = str(root)
        cfg[f"{stage}_dataloader"].num_workers = 0
        cfg[f"{stage}_dataloader"].persistent_workers = False
    single = copy.deepcopy(cfg.train_dataloader.dataset.dataset.datasets[0])
    single.data_root = str(root)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset = single
    for pipeline in pipelines(cfg):
        resize(pipeline, (96, 80))
    return cfg


def seg_config(root: Path, work_dir: Path) -> Config:
    """The stock PSPNet on ADE20K, with fewer channels and smaller images."""
    cfg = Config.fromfile(stock("mmseg", "pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py"))
    shrink(cfg, work_dir)
    norm = dict(type="BN", requires_grad=True)
    cfg.merge_from_dict(
        {
            "model.pretrained": None,
            "model.data_preprocessor.size": (64, 64),
            "model.backbone": dict(depth=18, base_channels=8, stem_channels=8, norm_cfg=norm),
            "model.decode_head": dict(in_channels=64, channels=8, norm_cfg=norm),
            "model.auxiliary_head": dict(in_channels=32, channels=8, norm_cfg=norm),
            "train_cfg.max_iters": 2,
            "train_cfg.val_interval": 2,
        }
    )
    for stage in ("train", "val", "test"):
        loader = cfg[f"{stage}_dataloader"]
        loader.dataset.data_root = str(root)
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
    for pipeline in pipelines(cfg):
        resize(pipeline, (96, 64))
    return cfg


def stock(package: str, name: str) -> str:
    """Path of a config that the installed mmdet or mmseg ships."""
    module = __import__(package)
    return str(Path(module.__file__).parent / ".mim/configs" / name)


def shrink(cfg: Config, work_dir: Path) -> None:
    """Settings of both: a folder of its own, no images drawn, one seed."""
    cfg.work_dir = str(work_dir / "work")
    cfg.randomness = dict(seed=0)
    cfg.log_level = "WARNING"
    cfg.visualizer.vis_backends = []


def pipelines(cfg: Config) -> list[list]:
    """All that `det_config` and `seg_config` have to change."""
    loaders = [cfg[f"{stage}_dataloader"].dataset.pipeline for stage in ("train", "val", "test")]
    return [cfg.train_pipeline, cfg.test_pipeline, *loaders]


def resize(pipeline: list, scale: tuple[int, int]) -> None:
    for step in pipeline:
        if step.type in ("Resize", "RandomResize"):
            step.scale = scale
        elif step.type == "RandomCrop":
            step.crop_size = (64, 64)


class Keep(Hook):
    """Keeps what a runner loads and predicts."""

    def __init__(self):
        self.inputs, self.outputs, self.train_inputs = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.train_inputs += [image.clone() for image in data_batch["inputs"]]

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.inputs += [image.clone() for image in data_batch["inputs"]]

    def before_test_iter(self, runner, batch_idx, data_batch=None):
        self.inputs += data_batch["inputs"]

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.outputs += outputs


def build_runner(cfg: Config) -> tuple[Runner, Keep]:
    """A runner, as tools/test.py builds it, and what it will load and predict."""
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = uuid.uuid4().hex  # or the default scope would be that of another
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    keep = Keep()
    runner.register_hook(keep)
    return runner, keep


def end_workers(loop: BaseLoop) -> None:
    """End the data workers, for each of which the garbage collector would wait five seconds."""
    loop.dataloader_iterator = loop.dataloader._iterator = None


def run_test(cfg: Config) -> Keep:
    """One `Runner.test()`."""
    runner, keep = build_runner(cfg)
    metrics = runner.test()
    assert metrics
    return keep


def use_hook(cfg: Config, **arguments) -> Config:
    """As `--cfg-options default_hooks.derain.type=...` does."""
    cfg = copy.deepcopy(cfg)
    options = {"type": HOOK, **arguments}
    cfg.merge_from_dict({f"default_hooks.derain.{key}": value for key, value in options.items()})
    return cfg


def assert_same_predictions(first: list, second: list) -> None:
    """Bit-identical boxes, scores and classes, or segmentations."""
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        if "pred_sem_seg" in one:
            np.testing.assert_array_equal(one.seg_logits.data, other.seg_logits.data)
            np.testing.assert_array_equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        else:
            assert len(one.pred_instances) > 0
            for key in ("bboxes", "scores", "labels"):
                np.testing.assert_array_equal(one.pred_instances[key], other.pred_instances[key])


def same_predictions(first: list, second: list) -> bool:
    try:
        assert_same_predictions(first, second)
    except AssertionError:
        return False
    return True
