"""`patch_config`, inferencers, and the configs that come with the package."""

import copy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from mmcv.transforms import Compose
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, build_from_cfg, init_default_scope
from mmseg.apis import MMSegInferencer, inference_model, init_model

import jorder_preproc
from jorder_preproc import JorderELite_Weights
from jorder_preproc.openmmlab import config_path, patch_config
from jorder_preproc.openmmlab.pipelines import insert, type_names
from tests.networks import ship
from tests.openmmlab.stack import (
    DERAIN,
    assert_same_predictions,
    build_runner,
    derained,
    photo,
    run_test,
    use_hook,
)

ROOT = Path(jorder_preproc.__file__).parents[1]
HOSTS = {
    "mmdet/faster-rcnn_r50_voc07_derain": "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py",
    "mmseg/pspnet_r50_ade20k_derain": "pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py",
    "mmseg/segformer_b0_ade20k_derain": ("segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py"),
}
NAMES = sorted(
    path.relative_to(ROOT / "configs").with_suffix("").as_posix()
    for folder in ("mixins", "mmdet", "mmseg")
    for path in (ROOT / "configs" / folder).glob("*.py")
)


def types(pipeline) -> list[str]:
    return [step["type"] for step in pipeline]


def save(cfg: Config, path: Path, meta: dict) -> str:
    """A checkpoint of the model with random weights."""
    runner, _ = build_runner(cfg)
    torch.save({"state_dict": runner.model.state_dict(), "meta": {"dataset_meta": meta}}, path)
    return str(path)


# inferencers


def test_inferencers_of_mmdet_give_what_the_hook_gives(det, voc, weights, count, tmp_path):
    meta = {"classes": ("a",) * 20, "palette": [(0, 0, 0)] * 20}
    det.load_from = save(det, tmp_path / "model.pth", meta)
    expected = run_test(use_hook(det, weights=weights)).outputs
    paths = [sample.img_path for sample in expected]
    patched = patch_config(det, weights=weights)
    count()
    inferencer = DetInferencer(patched, det.load_from, device="cpu", show_progress=False)
    predictions = inferencer(paths, return_datasamples=True)["predictions"]
    assert count() == len(paths)
    assert_same_predictions(predictions, expected)
    model = init_detector(patched, det.load_from, device="cpu")
    assert_same_predictions(inference_detector(model, paths), expected)
    assert count() == len(paths)


def test_inferencers_of_mmseg_give_what_the_hook_gives(seg, weights, count, tmp_path):
    meta = {"classes": ("a",) * 150, "palette": [(0, 0, 0)] * 150}
    seg.load_from = save(seg, tmp_path / "model.pth", meta)
    expected = run_test(use_hook(seg, weights=weights)).outputs
    paths = [sample.img_path for sample in expected]
    patched = patch_config(seg, weights=weights)
    count()
    inferencer = MMSegInferencer(patched, seg.load_from, device="cpu")
    predictions = [inferencer(path, return_datasamples=True) for path in paths]
    assert count() == len(paths)
    assert_same_predictions(predictions, expected)
    model = init_model(patched, seg.load_from, device="cpu")
    assert_same_predictions([inference_model(model, path) for path in paths], expected)
    assert count() == len(paths)


# patch_config


def test_patch_config_changes_every_pipeline_once(det, seg, weights):
    for cfg in (det, seg):
        training = copy.deepcopy(cfg.train_dataloader)
        assert patch_config(cfg, weights=weights, tile=512) is cfg
        once = copy.deepcopy(cfg)
        patched = [cfg.test_pipeline, *(cfg.get("tta_pipeline", ()) and [cfg.tta_pipeline])]
        patched += [cfg.test_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline]
        for pipeline in patched:
            assert types(pipeline)[:2] == ["LoadImageFromFile", DERAIN]
            assert types(pipeline).count(DERAIN) == 1
            step = dict(type=DERAIN, model="jorder_e_lite", weights=weights, tile=512)
            assert pipeline[1] == step
        assert patch_config(cfg).to_dict() == once.to_dict()
        assert cfg.train_dataloader == training


@pytest.mark.parametrize("deveil", [True, "auto"])
def test_patch_config_writes_deveil(seg, deveil_weights, deveil):
    step = dict(type=DERAIN, model="jorder_e_lite", deveil=deveil)
    without = patch_config(copy.deepcopy(seg), deveil=deveil)
    assert without.test_pipeline[1] == step
    patch_config(seg, deveil=deveil, deveil_weights=deveil_weights)
    for pipeline in (seg.test_pipeline, seg.tta_pipeline, seg.test_dataloader.dataset.pipeline):
        assert pipeline[1] == {**step, "deveil_weights": deveil_weights}
    once = copy.deepcopy(seg)
    again = patch_config(seg, deveil=deveil, deveil_weights=deveil_weights)
    assert again.to_dict() == once.to_dict()
    # and there is not a word of it in a config that leaves the veil
    plain = patch_config({"test_pipeline": [dict(type="LoadImageFromFile")]})
    assert plain["test_pipeline"][1] == dict(type=DERAIN, model="jorder_e_lite")


def test_patched_configs_can_be_written_and_read(tmp_path):
    cfg = Config({"test_pipeline": [dict(type="LoadImageFromFile")]})
    patch_config(cfg, weights=JorderELite_Weights.DEFAULT)
    for name in ("a.py", "a.json"):
        cfg.dump(tmp_path / name)
        (_, step) = Config.fromfile(tmp_path / name).test_pipeline
        assert step["weights"] == str(JorderELite_Weights.DEFAULT.file)
        build_from_cfg(step, TRANSFORMS)


def test_patch_config_of_training_goes_through_wrappers():
    cfg = Config.fromfile(config_path("mmdet/faster-rcnn_r50_voc07_derain"))
    before = copy.deepcopy(cfg.test_dataloader)
    patch_config(cfg, train=True)
    inner = cfg.train_dataloader.dataset.dataset.datasets
    assert len(inner) == 2
    for pipeline in (cfg.train_pipeline, inner[0].pipeline, inner[1].pipeline):
        assert types(pipeline)[:2] == ["LoadImageFromFile", DERAIN]
    assert cfg.test_dataloader == before  # it derained already


def test_steps_within_others_are_seen():
    load, pack = dict(type="LoadImageFromFile"), dict(type="PackSegInputs")
    rain = [[dict(type="jorder_preproc.SynthesizeRain", seed=seed)] for seed in (1, 2)]
    choice = dict(type="RandomChoice", transforms=rain)
    wet = dict(type="RandomApply", prob=0.5, transforms=[choice])
    derained = dict(type="RandomApply", transforms=[dict(type="jorder_preproc.JorderDerain")])
    for middle, expected in ((wet, ["RandomApply", "JorderDerain"]), (derained, ["RandomApply"])):
        steps = [load, middle, pack]
        for pipeline in (copy.deepcopy(steps), [TRANSFORMS.build(step) for step in steps]):
            insert(pipeline, dict(type="jorder_preproc.JorderDerain"))
            names = [type_names(step) for step in pipeline[1:-1]]
            assert all(one in kinds for one, kinds in zip(expected, names, strict=True))


def test_patch_config_takes_plain_dicts_and_classes():
    from mmcv.transforms import LoadImageFromFile

    class Reader(LoadImageFromFile):
        pass

    for loader in ("mmseg.LoadImageFromNDArray", "mmdet.InferencerLoader", Reader):
        rain = dict(type="jorder_preproc.SynthesizeRain")
        cfg = patch_config({"test_pipeline": [dict(type=loader), rain, dict(type="Resize")]})
        assert types(cfg["test_pipeline"])[1:] == [rain["type"], DERAIN, "Resize"]


def test_patch_config_leaves_a_deraining_data_preprocessor_alone(det):
    det.model.data_preprocessor.type = "jorder_preproc.DerainDetDataPreprocessor"
    before = det.to_dict()
    assert patch_config(det).to_dict() == before


def test_errors_of_patch_config(det):
    with pytest.raises(ValueError, match="unknown model"):
        patch_config(det, "jorder_x")
    with pytest.raises(TypeError, match="model must be a name, got int"):
        patch_config(det, 3)
    with pytest.raises(FileNotFoundError, match="weights must be"):
        patch_config(det, weights="missing.safetensors")
    with pytest.raises(ValueError, match="deveil must be False, True or 'auto', got 'on'"):
        patch_config(det, deveil="on")
    with pytest.raises(ValueError, match="deveil_weights are for deveil=True or 'auto'"):
        patch_config(det, deveil_weights="missing.safetensors")
    with pytest.raises(ValueError, match="the config has no pipeline with an image loader"):
        patch_config({"model": None})
    det.test_dataloader.dataset.pipeline = [dict(type="Resize")]
    with pytest.raises(ValueError, match="test_dataloader has no pipeline with an image loader"):
        patch_config(det)


# the configs


def test_every_example_has_its_host_here():
    assert {name for name in NAMES if not name.startswith("mixins/")} == HOSTS.keys()
    assert any(name.startswith("mixins/") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_config(name, weights, monkeypatch, tmp_path):
    """Loads, builds and runs; but for the one line it is the host's pipeline."""
    (tmp_path / "jorder_e_lite.safetensors").symlink_to(weights)
    ship(monkeypatch, tmp_path)
    cfg = Config.fromfile(config_path(name))
    package, _, _ = name.partition("/")
    if package == "mixins":
        assert [hook.type for hook in cfg.custom_hooks] == ["jorder_preproc.DerainHook"]
        deveil = "auto" if name.endswith("_deveil") else False
        assert cfg.custom_hooks[0].get("deveil", False) == deveil
        return
    host_path = Path(sys.modules[package].__file__).parent / ".mim/configs" / HOSTS[name]
    host = Config.fromfile(host_path)
    for pipeline, original in (
        (cfg.test_pipeline, host.test_pipeline),
        (cfg.test_dataloader.dataset.pipeline, host.test_dataloader.dataset.pipeline),
        (cfg.val_dataloader.dataset.pipeline, host.val_dataloader.dataset.pipeline),
    ):
        assert types(pipeline)[1] == DERAIN
        rest = [step for step in pipeline if step.type != DERAIN]
        assert strip(rest) == strip(original)
    init_default_scope(package)
    built = Compose(cfg.test_dataloader.dataset.pipeline)
    image = photo(30, 40)
    results = built.transforms[1]({"img": image})
    assert (results["img"] == derained(image, weights)).all()


def strip(pipeline) -> list[dict]:
    """As plain dicts, without the scope that inheritance from a package adds."""
    steps = [dict(step) for step in pipeline]
    return [{key: value for key, value in step.items() if key != "_scope_"} for step in steps]


def test_config_path_with_and_without_ending():
    path = config_path("mixins/derain.py")
    assert path == config_path("mixins/derain") and Path(path).is_file()
    with pytest.raises(FileNotFoundError, match="no config 'derain'; choose from mixins/derain,"):
        config_path("derain")


def test_wheel_holds_the_configs(tmp_path):
    source = tmp_path / "source"
    for name in ("jorder_preproc", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    program = (
        "from jorder_preproc.openmmlab import config_path as c; print(*map(c, {!r}), sep='\\n')"
    )
    paths = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program.format(NAMES)],
        cwd=tmp_path / "installed",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    expected = [str(tmp_path / f"installed/jorder_preproc/configs/{name}.py") for name in NAMES]
    assert paths[-len(NAMES) :] == expected
