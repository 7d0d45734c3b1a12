"""Every way to switch deraining on in a Runner: the same images, each exactly once."""

import copy
import functools
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict

from jorder_preproc.openmmlab import DerainHook, config_path, patch_config
from tests.networks import ship
from tests.openmmlab.stack import (
    ADE_SIZES,
    DERAIN,
    HOOK,
    VOC_SIZES,
    assert_same_predictions,
    build_runner,
    end_workers,
    run_test,
    same_predictions,
    use_hook,
)

ROOT = Path(__file__).parents[2]
PREPROCESSORS = {
    "mmdet": "jorder_preproc.DerainDetDataPreprocessor",
    "mmseg": "jorder_preproc.DerainSegDataPreprocessor",
}


@pytest.fixture(params=["det", "seg"])
def host(request) -> Config:
    """Both of them, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def shipped(monkeypatch, weights, deveil_weights, tmp_path):
    """The random networks as those in the package, for configs that name no weights."""
    (tmp_path / "jorder_e_lite.safetensors").symlink_to(weights)
    (tmp_path / "jorder_deveil_lite.safetensors").symlink_to(deveil_weights)
    ship(monkeypatch, tmp_path)


def image_count(cfg: Config) -> int:
    return len(VOC_SIZES if cfg.default_scope == "mmdet" else ADE_SIZES)


def use_transform(cfg: Config, weights: str, **deveil) -> Config:
    """A line written into the pipeline by hand."""
    cfg = copy.deepcopy(cfg)
    step = dict(type=DERAIN, weights=weights, **deveil)
    cfg.test_dataloader.dataset.pipeline.insert(1, step)
    return cfg


def use_preprocessor(cfg: Config, weights: str, **deveil) -> Config:
    """Another type for the data preprocessor, and nothing else."""
    cfg = copy.deepcopy(cfg)
    kind = PREPROCESSORS[cfg.default_scope]
    derain = dict(weights=weights, **deveil)
    cfg.merge_from_dict({"model.data_preprocessor": dict(type=kind, derain=derain)})
    return cfg


def use_mixin(cfg: Config, name: str, folder: Path) -> Config:
    """`_base_ = [host, mixin]`."""
    cfg.dump(folder / "host.py")
    (folder / "child.py").write_text(f"_base_ = ['host.py', {config_path(name)!r}]\n")
    return Config.fromfile(folder / "child.py")


def test_all_ways_run_and_agree(host, weights, shipped, count, tmp_path):
    plain = run_test(host)
    assert count() == 0
    by_transform = run_test(use_transform(host, weights))
    assert count() == image_count(host)
    assert not same_predictions(by_transform.outputs, plain.outputs)
    others = [
        use_hook(host, weights=weights),
        use_mixin(host, "mixins/derain", tmp_path),
        patch_config(copy.deepcopy(host), weights=weights),
    ]
    for cfg in others:
        kept = run_test(cfg)
        assert count() == image_count(host)
        assert_same_predictions(kept.outputs, by_transform.outputs)

    by_preprocessor = run_test(use_preprocessor(host, weights))
    assert count() == image_count(host)
    assert not same_predictions(by_preprocessor.outputs, plain.outputs)
    assert not same_predictions(by_preprocessor.outputs, by_transform.outputs)
    others = [
        use_hook(host, weights=weights, where="batch"),
        use_mixin(host, "mixins/derain_batch", tmp_path),
    ]
    for cfg in others:
        kept = run_test(cfg)
        assert count() == image_count(host)
        assert_same_predictions(kept.outputs, by_preprocessor.outputs)
    # what the pipeline loaded was left alone
    for one, other in zip(kept.inputs, plain.inputs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("deveil", [True, "auto"])
def test_all_ways_deveil(det, weights, deveil_weights, shipped, count, tmp_path, deveil):
    arguments = dict(weights=weights, deveil=deveil, deveil_weights=deveil_weights)
    derained = run_test(use_transform(det, weights))
    by_transform = run_test(use_transform(det, **arguments))
    assert not same_predictions(by_transform.outputs, derained.outputs)
    count()
    others = [
        use_hook(det, **arguments),
        patch_config(copy.deepcopy(det), **arguments),
        *([use_mixin(det, "mixins/derain_deveil", tmp_path)] if deveil == "auto" else []),
    ]
    for cfg in others:
        kept = run_test(cfg)
        assert count() == image_count(det)
        assert_same_predictions(kept.outputs, by_transform.outputs)
    by_preprocessor = run_test(use_preprocessor(det, **arguments))
    assert count() == image_count(det)
    assert not same_predictions(by_preprocessor.outputs, by_transform.outputs)
    kept = run_test(use_hook(det, where="batch", **arguments))
    assert count() == image_count(det)
    assert_same_predictions(kept.outputs, by_preprocessor.outputs)


def test_stock_tool_of_mmdet(det, weights, tmp_path):
    runner, _ = build_runner(det)
    det.load_from = str(tmp_path / "model.pth")
    torch.save({"state_dict": runner.model.state_dict()}, det.load_from)
    expected = run_test(use_transform(det, weights)).outputs
    det.dump(tmp_path / "host.py")
    run_tool("mmdet", det, ["--out", str(tmp_path / "out.pkl")], weights, tmp_path)
    results = pickle.loads((tmp_path / "out.pkl").read_bytes())
    for result, sample in zip(results, expected, strict=True):
        for key in ("bboxes", "scores", "labels"):
            assert torch.equal(result["pred_instances"][key], sample.pred_instances[key])


def test_stock_tool_of_mmseg(seg, weights, tmp_path):
    runner, _ = build_runner(seg)
    seg.load_from = str(tmp_path / "model.pth")
    torch.save({"state_dict": runner.model.state_dict()}, seg.load_from)
    expected = run_test(use_transform(seg, weights)).outputs
    seg.dump(tmp_path / "host.py")
    run_tool("mmseg", seg, ["--out", str(tmp_path / "out")], weights, tmp_path)
    for index, sample in enumerate(expected):
        classes = cv2.imread(str(tmp_path / f"out/{index}.png"), cv2.IMREAD_UNCHANGED)
        # 0 is no class in the files
        np.testing.assert_array_equal(classes - 1, sample.pred_sem_seg.data[0])


def run_tool(package: str, cfg: Config, options: list, weights: str, folder: Path) -> None:
    """`tools/test.py` as it comes with the package, on a config without a word of deraining."""
    module = sys.modules[package]
    command = [
        *(sys.executable, "-W", "ignore"),
        str(Path(module.__file__).parent / ".mim/tools/test.py"),
        *(str(folder / "host.py"), cfg.load_from, "--work-dir", str(folder / "tool"), *options),
        *("--cfg-options", f"default_hooks.derain.type={HOOK}"),
        f"default_hooks.derain.weights={weights}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_every_image_once_with_workers(det, weights, count, workers, persistent):
    expected = run_test(use_transform(det, weights))
    count()
    cfg = use_hook(det, weights=weights)
    cfg.test_dataloader.update(num_workers=workers, persistent_workers=persistent)
    runner, kept = build_runner(cfg)
    # workers that live on from before the hook
    list(runner.test_loop.dataloader)
    assert count() == 0
    for _ in range(2):
        runner.test()
        assert count() == image_count(det)
    end_workers(runner.test_loop)
    for actual, wanted in zip(kept.inputs, 2 * expected.inputs, strict=True):
        # one thread or several may round differently
        assert (actual.int() - wanted.int()).abs().max() <= 1


def wrap(inner: dict, kind: str) -> dict:
    """A data set in a wrapper, and how often it then loads an image for each item."""
    return {
        "ConcatDataset": dict(type=kind, datasets=[inner, copy.deepcopy(inner)]),
        "RepeatDataset": dict(type=kind, times=2, dataset=inner),
        "ClassBalancedDataset": dict(type=kind, oversample_thr=0.5, dataset=inner),
        "MultiImageMixDataset": dict(
            type=kind,
            dataset=inner,
            pipeline=[
                dict(type="Mosaic", img_scale=(64, 64)),
                dict(type="PackDetInputs", meta_keys=()),
            ],
        ),
    }[kind]


@pytest.mark.parametrize(
    "kinds",
    [
        ["ConcatDataset"],
        ["RepeatDataset"],
        ["ClassBalancedDataset"],
        ["MultiImageMixDataset"],
        ["ConcatDataset", "RepeatDataset"],
    ],
    ids="-".join,
)
def test_wrapped_data_sets(det, weights, count, kinds):
    dataset = det.test_dataloader.dataset
    if "MultiImageMixDataset" in kinds:
        dataset.pipeline = dataset.pipeline[:-1]
        dataset.pipeline[-1], dataset.pipeline[-2] = dataset.pipeline[-2:]
    for kind in kinds:
        dataset = wrap(dataset, kind)
    det.test_dataloader.dataset = dataset
    det.test_evaluator = dict(type="mmdet.VOCMetric")

    def items(cfg):
        runner, _ = build_runner(cfg)
        for _ in range(2):  # nothing more happens the second time
            runner.call_hook("before_test_epoch")
        count()
        random.seed(0)
        np.random.seed(0)
        loaded = runner.test_loop.dataloader.dataset
        return [loaded[index]["inputs"] for index in range(len(loaded))], count()

    plain, none = items(det)
    by_config, by_config_count = items(patch_config(copy.deepcopy(det), weights=weights))
    by_hook, by_hook_count = items(use_hook(det, weights=weights))
    each = 4 if "MultiImageMixDataset" in kinds else 1
    assert (none, by_config_count, by_hook_count) == (0, each * len(plain), each * len(plain))
    for index, image in enumerate(by_hook):
        assert torch.equal(image, by_config[index])
        assert not torch.equal(image, plain[index])


@pytest.mark.parametrize("where", ["pipeline", "batch"])
def test_validation_during_training(host, weights, count, where):
    detection = host.default_scope == "mmdet"
    if detection:
        host.train_cfg.max_epochs = 1
        host.train_dataloader.batch_size = 3
        trained, validated = len(VOC_SIZES), len(VOC_SIZES)
    else:
        host.train_cfg.update(max_iters=2, val_interval=1)
        host.train_dataloader.batch_size = 2
        trained, validated = 4, 2 * len(ADE_SIZES)
    cases = [(dict(when="val"), validated), (dict(when="test", train=True), trained)]
    for arguments, expected in cases:
        runner, kept = build_runner(use_hook(host, weights=weights, where=where, **arguments))
        runner.train()
        assert count() == expected, arguments
        assert not runner.model.data_preprocessor._forward_pre_hooks
    assert len(kept.train_inputs) == trained and len(kept.inputs) == validated


@pytest.mark.parametrize("persistent", [False, True])
def test_training_workers_that_started_before_the_hook(seg, weights, persistent):
    """As those of MMEngine 0.10.7's IterBasedTrainLoop."""
    seg.train_dataloader.update(num_workers=1, persistent_workers=persistent, batch_size=2)
    pipeline = [step for step in seg.train_dataloader.dataset.pipeline if "Load" in step.type]
    seg.train_dataloader.dataset.pipeline = [
        *pipeline,
        dict(type="Resize", scale=(64, 64)),
        seg.test_pipeline[-1],
    ]
    seg.train_cfg.max_iters = 1
    seg.val_cfg = seg.val_dataloader = seg.val_evaluator = None
    images = []
    for arguments in (dict(train=True), dict()):
        runner, kept = build_runner(use_hook(seg, weights=weights, **arguments))
        loop = runner.build_train_loop(runner._train_loop)
        if loop.dataloader_iterator._iterator is None:  # 0.10.7 has begun by itself
            loop.dataloader_iterator._iterator = iter(loop.dataloader)
        runner._train_loop = loop
        runner.train()
        end_workers(loop)
        images.append(kept.train_inputs[0].float())
    assert (images[0] - images[1]).abs().mean() > 5


def test_test_time_augmentation(seg, weights, count):
    seg.tta_pipeline[1].transforms[0] = [dict(type="Resize", scale=(64, 64), keep_ratio=True)]
    # as tools/test.py --tta
    seg.model = ConfigDict(**seg.tta_model, module=seg.model)
    seg.test_dataloader.dataset.pipeline = seg.tta_pipeline
    kept = run_test(use_hook(seg, weights=weights))
    assert count() == image_count(seg)
    assert len(kept.inputs) == 2 * image_count(seg)  # flipped and not
    run_test(use_hook(seg, weights=weights, where="batch"))
    assert count() == 2 * image_count(seg)


@pytest.mark.parametrize("own_step", [False, True])
@pytest.mark.parametrize("fails", ["preprocessor", "model"])
def test_a_model_is_left_alone_after_an_iteration_that_raises(
    det, weights, count, monkeypatch, fails, own_step
):
    runner, _ = build_runner(use_hook(det, weights=weights, where="batch"))
    model = runner.model
    if own_step:  # of the instance, as others may put there
        model.test_step = functools.partial(type(model).test_step, model)
    before = dict(vars(model.eval()))

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    target = model.data_preprocessor if fails == "preprocessor" else model
    with monkeypatch.context() as patched:
        patched.setattr(target, "forward", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            runner.test()
    assert not model.data_preprocessor._forward_pre_hooks
    assert vars(model) == before
    count()
    model.test_step(next(iter(runner.test_dataloader)))
    assert count() == 0
    # the next run derains again, each image once
    runner.test()
    assert count() == image_count(det)


@pytest.mark.parametrize("where", ["pipeline", "batch"])
@pytest.mark.parametrize("already", [use_transform, use_preprocessor, use_hook])
def test_never_twice(det, weights, count, already, where):
    cfg = already(det, weights=weights)
    cfg.custom_hooks = [dict(type=HOOK, weights=weights, where=where)]
    run_test(cfg)
    assert count() == image_count(det)


def test_rain_comes_before_deraining(det, weights):
    steps = det.test_dataloader.dataset.pipeline
    steps.insert(1, dict(type="jorder_preproc.SynthesizeRain", preset="light"))
    runner, _ = build_runner(use_hook(det, weights=weights))
    runner.call_hook("before_test_epoch")
    built = runner.test_loop.dataloader.dataset.pipeline.transforms
    names = [type(step).__name__ for step in built][:4]
    assert names == ["LoadImageFromFile", "SynthesizeRain", "JorderDerain", "Resize"]


def test_errors(det, weights):
    for arguments, message in (
        (dict(when="train"), "when must be one of test, val, both, got 'train'"),
        (dict(where="gpu"), "where must be one of pipeline, batch, got 'gpu'"),
        (dict(where="batch", device="cuda"), "runs where the model does, got device='cuda'"),
        (dict(model="jorder_x"), "unknown model"),
        (dict(deveil="on"), "deveil must be False, True or 'auto', got 'on'"),
        (dict(deveil="on", where="batch"), "deveil must be False, True or 'auto', got 'on'"),
        (dict(deveil_weights="x"), "deveil_weights are for deveil=True or 'auto'"),
    ):
        with pytest.raises(ValueError, match=message):
            DerainHook(**arguments)
    with pytest.raises(FileNotFoundError, match="weights must be"):
        DerainHook(weights="missing.safetensors")
    with pytest.raises(FileNotFoundError, match="weights must be"):
        DerainHook(deveil="auto", deveil_weights="missing.safetensors")
    with pytest.raises(TypeError, match="whne"):
        DerainHook(whne="test")
    det.test_dataloader.dataset.pipeline = det.test_dataloader.dataset.pipeline[1:]
    runner, _ = build_runner(use_hook(det, weights=weights))
    with pytest.raises(ValueError, match="the test data set has no pipeline with an image loader"):
        runner.test()
