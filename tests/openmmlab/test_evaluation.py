"""`python -m evaluation segmentation | detection` against the stock Runner of the same config."""

import copy
import shutil
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.downstream.host_config import read_config
from evaluation.downstream.records import RecordStore
from evaluation.report.schema import Results, from_json
from jorder_preproc import SynthesizeRain
from tests.openmmlab.stack import ADE_SIZES, build_runner, use_hook

METRICS = {
    "segmentation": {"mIoU": "mIoU", "aAcc": "aAcc", "mAcc": "mAcc"},
    "detection": {"mAP": "pascal_voc/mAP"},
}


def save_random_weights(cfg: Config, folder: Path) -> Path:
    """As far from zero as trained weights are, or all pixels would be of one class."""
    runner, _ = build_runner(cfg)
    torch.manual_seed(0)
    for parameter in runner.model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    checkpoint = folder / "random.pth"
    torch.save({"state_dict": runner.model.state_dict(), "meta": {"epoch": 1}}, checkpoint)
    return checkpoint


@pytest.fixture(params=["segmentation", "detection"])
def case(request, seg, det, tmp_path):
    """Task, config, its file, and a checkpoint with random weights."""
    cfg = seg if request.param == "segmentation" else det
    checkpoint = save_random_weights(cfg, tmp_path)
    file = tmp_path / "config.py"
    cfg.dump(file)
    return request.param, cfg, file, checkpoint


def evaluate(task: str, file: Path, checkpoint: Path, out: Path, *more: str) -> Results:
    command = [task, str(file), str(checkpoint), "--out", str(out), "--workers", "0", *more]
    result = CliRunner().invoke(app, [*command, "--samples", "1"])
    assert result.exit_code == 0, result.output
    return from_json((out / "results.json").read_text())[0]


def stock(cfg: Config, checkpoint: Path) -> dict[str, float]:
    """What `tools/test.py` prints."""
    cfg = copy.deepcopy(cfg)
    cfg.load_from = str(checkpoint)
    cfg.experiment_name = uuid.uuid4().hex
    return Runner.from_cfg(cfg).test()


def rain_on_files(task: str, root: Path) -> None:
    """Put the rain into the files, in place of the pipeline."""
    folder = root / ("images/validation" if task == "segmentation" else "VOC2007/JPEGImages")
    for path in folder.glob("*.jpg"):
        rgb = cv2.imread(str(path))[..., ::-1]
        name = path.relative_to(root).as_posix()
        rainy = SynthesizeRain("heavy", 0)(np.ascontiguousarray(rgb), image_id=name)
        path.write_bytes(cv2.imencode(".png", rainy[..., ::-1])[1].tobytes())


def test_scores_are_those_of_the_stock_runner(case, tmp_path):
    task, cfg, file, checkpoint = case
    results = evaluate(task, file, checkpoint, tmp_path / "out")
    expected = {"clean": stock(cfg, checkpoint), "clean_derained": stock(use_hook(cfg), checkpoint)}
    dataset = cfg.test_dataloader.dataset
    copy_of_data = tmp_path / "rainy"
    shutil.copytree(dataset.data_root, copy_of_data)
    rain_on_files(task, copy_of_data)
    rainy = copy.deepcopy(cfg)
    rainy.test_dataloader.dataset.data_root = str(copy_of_data)
    expected["rainy"] = stock(rainy, checkpoint)
    expected["derained"] = stock(use_hook(rainy), checkpoint)
    scale = 100 if task == "segmentation" else 1
    for ours, theirs in METRICS[task].items():
        for condition, metrics in expected.items():
            value = getattr(results.metrics[ours], condition)
            # mmseg rounds percentages to two digits
            assert scale * value == pytest.approx(
                metrics[theirs], abs=0.0051 if scale > 1 else 1e-6
            )
    # scores of random models are rough: what they say differs, pixel by pixel or box by box
    said = {
        condition: RecordStore(next((tmp_path / "out/records").glob(f"{condition}-*"))).load([0, 1])
        for condition in ("clean", "rainy")
    }
    key = "map" if task == "segmentation" else "boxes"
    pairs = zip(said["clean"], said["rainy"], strict=True)
    assert all(not np.array_equal(one[key], other[key]) for one, other in pairs)


def test_the_label_that_a_config_ignores(seg, tmp_path):
    """CamVid, for one, has a label of its own for void."""
    checkpoint = save_random_weights(seg, tmp_path)
    accuracies = []
    for label in (255, 1):
        seg.test_evaluator.ignore_index = label
        seg.dump(tmp_path / "config.py")
        results = evaluate(
            "segmentation", tmp_path / "config.py", checkpoint, tmp_path / "out", "--limit", "2"
        )
        accuracies.append(100 * results.metrics["aAcc"].clean)
        assert accuracies[-1] == pytest.approx(stock(seg, checkpoint)["aAcc"], abs=0.0051)
    assert accuracies[0] != accuracies[1]


def test_deveil_is_that_of_the_hook(case, deveil_weights, tmp_path):
    task, cfg, file, checkpoint = case
    options = ("--deveil", "on", "--deveil-weights", deveil_weights)
    results = evaluate(task, file, checkpoint, tmp_path / "out", *options)
    assert results.derainer.deveil is True
    hooked = use_hook(cfg, deveil=True, deveil_weights=deveil_weights)
    with_deveil, without = (stock(one, checkpoint) for one in (hooked, use_hook(cfg)))
    scale = 100 if task == "segmentation" else 1
    for ours, theirs in METRICS[task].items():
        value = results.metrics[ours].clean_derained
        assert scale * value == pytest.approx(
            with_deveil[theirs], abs=0.0051 if scale > 1 else 1e-6
        )
    if task == "segmentation":  # random detectors find too little to differ
        assert with_deveil != without


def test_what_opencv_refuses_is_skipped(case, tmp_path):
    """Though Pillow reads it."""
    task, cfg, file, checkpoint = case
    root = tmp_path / "data"
    shutil.copytree(cfg.test_dataloader.dataset.data_root, root)
    path = min(root.glob("images/validation/*.jpg" if task == "segmentation" else "**/*.jpg"))
    with Image.open(path) as image:
        image.convert("RGB").save(path, "PCX")
    data = ("--data", str(root), "--workers", "0")
    message = fail([task, str(file), str(checkpoint), *data, "--out", str(tmp_path / "stop")])
    assert f"{path.name} cannot be read" in message and "--skip-unreadable" in message
    results = evaluate(task, file, checkpoint, tmp_path / "out", *data, "--skip-unreadable")
    assert [Path(one).name for one in results.dataset.unreadable] == [path.name]


def test_samples_of_batches_are_what_the_model_saw(det, tmp_path):
    """Resized by the pipeline, put back to the size in whose pixels the boxes are, not padded."""
    steps = det.test_dataloader.dataset.pipeline
    resize = next(i for i, step in enumerate(steps) if step.type == "Resize")
    steps.insert(resize + 1, dict(type="Pad", size=(160, 160)))
    runner, _ = build_runner(det)
    checkpoint, file = tmp_path / "random.pth", tmp_path / "config.py"
    torch.save(runner.model.state_dict(), checkpoint)
    det.dump(file)
    shown, options = {}, ("--dry", "derain")
    for where in ("pipeline", "batch"):
        out = tmp_path / where
        (sample,) = evaluate("detection", file, checkpoint, out, *options, "--where", where).samples
        for name, path in sample.images.items():
            with Image.open(out / path) as image:
                shown[where, name] = np.asarray(image.convert("RGB"), np.float64)
    for name in ("clean", "rainy", "derained"):
        native, seen = shown["pipeline", name], shown["batch", name]
        assert seen.shape == native.shape
        # the same image, but another one pixel by pixel; a cut amiss would shift it
        correlation = np.corrcoef(seen.ravel(), native.ravel())[0, 1]
        assert 0.8 < correlation < 1 - 1e-6
    assert not np.array_equal(shown["batch", "rainy"], shown["batch", "derained"])


def test_several_runs_give_one_table(case, tmp_path):
    """Records of a part of the images, then of all: as after an interruption."""
    task, _, file, checkpoint = case
    whole = evaluate(task, file, checkpoint, tmp_path / "whole")
    evaluate(task, file, checkpoint, tmp_path / "parts", "--limit", "1")
    parts = evaluate(task, file, checkpoint, tmp_path / "parts")
    assert parts.metrics == whole.metrics
    for folder in (tmp_path / "parts/records").iterdir():
        assert len(list(folder.glob("*.npz"))) == 2


def test_data_sets_in_wrappers_and_in_another_folder(seg, tmp_path):
    file, checkpoint = tmp_path / "config.py", tmp_path / "random.pth"
    runner, _ = build_runner(seg)
    torch.save(runner.model.state_dict(), checkpoint)
    dataset = seg.test_dataloader.dataset
    root, dataset.data_root = dataset.data_root, "elsewhere"
    pair = [dataset, copy.deepcopy(dataset)]
    seg.test_dataloader.dataset = dict(type="ConcatDataset", datasets=pair)
    seg.test_dataloader.batch_size = 2
    seg.dump(file)
    cfg = read_config(str(file), root)
    assert [one.data_root for one in cfg.test_dataloader.dataset.datasets] == [root, root]
    # or what is said of an image would depend on those beside it
    assert cfg.test_dataloader.batch_size == 1
    results = evaluate("segmentation", file, checkpoint, tmp_path / "out", "--data", root)
    assert results.dataset.images == 2 * len(ADE_SIZES) and len(results.samples) == 1


def test_coco_ap_beside_voc(det, tmp_path):
    runner, _ = build_runner(det)
    checkpoint, file = tmp_path / "random.pth", tmp_path / "config.py"
    torch.save(runner.model.state_dict(), checkpoint)
    det.dump(file)
    results = evaluate("detection", file, checkpoint, tmp_path / "out", "--coco")
    assert list(results.metrics) == ["mAP", "COCO AP", "COCO AP50"]


def fail(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def test_a_checkpoint_that_does_not_fit(case, tmp_path):
    task, _, file, checkpoint = case
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    gone = next(name for name in state if name.startswith("backbone."))
    del state[gone]
    torch.save({"state_dict": state}, checkpoint)
    message = fail([task, str(file), str(checkpoint), "--out", str(tmp_path / "out")])
    assert f"1 weights are missing in it, such as {gone}" in message


def test_a_config_without_annotations(case, tmp_path):
    task, cfg, file, checkpoint = case
    dataset = cfg.test_dataloader.dataset
    dataset.pipeline = [step for step in dataset.pipeline if step.type != "LoadAnnotations"]
    cfg.dump(file)
    assert "no LoadAnnotations" in fail([task, str(file), str(checkpoint)])


def test_mistakes(tmp_path):
    init_default_scope("mmengine")
    assert "needs a checkpoint" in fail(["segmentation", "config.py"])
    assert "no config nowhere.py" in fail(["detection", "nowhere.py", "x.pth"])
    assert "--data needs a config" in fail(["detection", "--data", str(tmp_path)])
    empty = tmp_path / "empty.py"
    empty.write_text("a = 1\n")
    assert "no test_dataloader" in fail(["detection", str(empty), "x.pth"])
