"""The drawn scenes through mmseg and mmdet, and the two small models that learn from them."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from evaluation.datasets.synthetic import train as training
from evaluation.datasets.synthetic.dataset import SIZES, write_dataset
from evaluation.datasets.synthetic.scenes import LABELS, OBJECTS, draw_scene
from evaluation.downstream.checkpoints import read_state

COUNT = 6
TASKS = ("segmentation", "detection")


def config(task):
    cfg = Config.fromfile(f"configs/scenes/{task}.py")
    init_default_scope(cfg.default_scope)
    return cfg


def drawn(task, number, seed=0):
    """What `write_dataset` should have drawn, from its seed alone."""
    return draw_scene(np.random.default_rng([seed, list(SIZES).index(task), 0, number]))


def load(task, root):
    """The test set of the config, as loaded: neither resized nor packed."""
    if task == "segmentation":
        from mmseg.registry import DATASETS
        from mmseg.utils import register_all_modules
    else:
        from mmdet.registry import DATASETS
        from mmdet.utils import register_all_modules
    cfg = config(task)
    register_all_modules(init_default_scope=True)
    dataset = cfg.test_dataloader.dataset
    dataset.data_root = str(root)
    dataset.pipeline = [step for step in dataset.pipeline if step.type.startswith("Load")]
    return DATASETS.build(dataset)


def test_mmseg_reads_the_labels(tmp_path):
    dataset = load("segmentation", write_dataset("segmentation", tmp_path / "scenes", COUNT))
    assert tuple(dataset.metainfo["classes"]) == LABELS and len(dataset) == COUNT
    for number, item in enumerate(dataset):
        scene = drawn("segmentation", number)
        # 0 would be none of the classes; it becomes 255, and the others move down
        np.testing.assert_array_equal(item["gt_seg_map"], scene.labels.astype(int) - 1)
        difference = np.abs(item["img"][..., ::-1].astype(int) - scene.image)
        assert difference.mean() < 3 and item["img"].shape == scene.image.shape


def test_mmdet_reads_the_boxes(tmp_path):
    dataset = load("detection", write_dataset("detection", tmp_path / "scenes", COUNT))
    assert tuple(dataset.metainfo["classes"]) == OBJECTS and len(dataset) == COUNT
    assert dataset.metainfo["dataset_type"] == "VOC2007"
    found = []
    for number, item in enumerate(dataset):
        scene = drawn("detection", number)
        np.testing.assert_array_equal(item["gt_bboxes"].tensor.numpy(), scene.boxes)
        np.testing.assert_array_equal(item["gt_bboxes_labels"], scene.classes)
        np.testing.assert_array_equal(item["gt_ignore_flags"], scene.difficult)
        found += scene.difficult.tolist()
    assert len(found) > 10


@pytest.mark.parametrize("task", TASKS)
def test_a_short_training_leaves_weights_that_load(task, tmp_path, monkeypatch):
    monkeypatch.setitem(training.TUNING, task, 2)
    arguments = [task, "--work-dir", str(tmp_path), "--images", "12", "--epochs", "1"]
    assert training.main(arguments) == 0
    weights = tmp_path / "best.safetensors"
    assert weights.stat().st_size < 2_000_000
    state = read_state(weights)
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.half}
    if task == "segmentation":
        from mmseg.registry import MODELS
    else:
        from mmdet.registry import MODELS
    model = MODELS.build(config(task).model)
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    assert all(value.isfinite().all() for value in state.values())
