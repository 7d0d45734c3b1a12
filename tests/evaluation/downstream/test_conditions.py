import copy
import hashlib
import re
from dataclasses import replace

import pytest
from mmengine.config import Config

from evaluation.downstream import conditions
from evaluation.downstream.conditions import (
    apply_condition,
    check_derainer,
    make_transform,
    ranges_sha256,
    weights_sha256,
)
from evaluation.metrics.statistics import CONDITIONS
from evaluation.report.schema import Derainer, Rain
from jorder_preproc.models import load_model, save_weights
from jorder_preproc.models.shipped import JorderDeveilLite_Weights, JorderELite_Weights
from tests.networks import random_deveil_network

LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackSegInputs")
RAIN = dict(type="jorder_preproc.SynthesizeRain", preset="storm", seed=3, data_root="data")
ARGUMENTS = dict(model="jorder_e_lite", weights=None, deveil=False)
ARGUMENTS |= dict(deveil_weights=None, dry="leave", backend="torch", precision="float32")
DERAIN = dict(type="jorder_preproc.JorderDerain", **ARGUMENTS)


def config(pipeline=(LOAD, PACK), **more) -> Config:
    dataset = dict(type="Set", data_root="data", pipeline=[dict(step) for step in pipeline])
    return Config(dict(model=dict(type="Net"), test_dataloader=dict(dataset=dataset), **more))


def changed(condition: str, cfg: Config, **derain) -> Config:
    return apply_condition(cfg, condition, Rain("storm", 3), Derainer(**derain))


@pytest.mark.parametrize(
    ("condition", "inserted"),
    [
        ("clean", []),
        ("rainy", [RAIN]),
        ("derained", [RAIN, DERAIN]),
        ("clean_derained", [DERAIN]),
    ],
)
def test_conditions_differ_in_what_is_behind_the_loader_alone(condition, inserted):
    cfg = changed(condition, config()).to_dict()
    assert cfg["test_dataloader"]["dataset"].pop("pipeline") == [LOAD, *inserted, PACK]
    expected = config().to_dict()
    del expected["test_dataloader"]["dataset"]["pipeline"]
    assert cfg == expected


def test_images_are_named_from_the_root_of_their_own_data_set():
    sets = [dict(type="Set", pipeline=[LOAD], data_root=root) for root in ("a", "b")]
    sets.append(dict(type="Set", pipeline=[LOAD]))
    wrapped = dict(type="Repeat", dataset=dict(type="Concat", datasets=sets))
    cfg = changed("rainy", Config(dict(test_dataloader=dict(dataset=wrapped))))
    steps = [inner.pipeline[1] for inner in cfg.test_dataloader.dataset.dataset.datasets]
    assert [step.data_root for step in steps] == ["a", "b", None]


def test_batches_are_derained_by_the_hook():
    cfg = changed("derained", config(default_hooks=dict(timer=dict(type="T"))), where="batch")
    assert cfg.test_dataloader.dataset.pipeline == [LOAD, RAIN, PACK]
    assert cfg.default_hooks.timer == dict(type="T")
    assert cfg.default_hooks.derain.type == "jorder_preproc.DerainHook"
    assert cfg.default_hooks.derain.where == "batch"


def test_the_cache_takes_the_place_of_the_transform():
    steps = changed("derained", config(), cache="folder").test_dataloader.dataset.pipeline
    assert steps[2] == {**DERAIN, "type": "CachedJorderDerain", "cache": "folder"}


@pytest.mark.parametrize("deveil", [True, "auto"])
@pytest.mark.parametrize("where", ["pipeline", "cache", "batch"])
def test_deveil_reaches_whatever_derains(tmp_path, deveil, where):
    file = str(tmp_path / "deveil.safetensors")
    save_weights(random_deveil_network(), file)
    more = {"pipeline": {}, "cache": dict(cache="folder"), "batch": dict(where="batch")}[where]
    cfg = changed("derained", config(), deveil=deveil, deveil_weights=file, **more)
    steps = [*cfg.test_dataloader.dataset.pipeline, *cfg.get("default_hooks", {}).values()]
    (step,) = [step for step in steps if "Derain" in step.type]
    assert (step.deveil, step.deveil_weights) == (deveil, file)
    # and only there
    cfg = changed("rainy", config(), deveil=deveil, deveil_weights=file, **more)
    assert cfg.test_dataloader.dataset.pipeline == [LOAD, RAIN, PACK]
    assert "default_hooks" not in cfg


@pytest.mark.parametrize("where", ["pipeline", "cache", "batch"])
def test_dry_reaches_whatever_derains(where):
    more = {"pipeline": {}, "cache": dict(cache="folder"), "batch": dict(where="batch")}[where]
    cfg = changed("clean_derained", config(), dry="derain", precision="bfloat16", **more)
    steps = [*cfg.test_dataloader.dataset.pipeline, *cfg.get("default_hooks", {}).values()]
    (step,) = (step for step in steps if "Derain" in step.type)
    assert (step.dry, step.precision) == ("derain", "bfloat16")
    assert make_transform(Derainer(dry="derain")).dry == "derain"


def test_pipelines_within_wrappers():
    inner = config().test_dataloader.dataset
    cfg = config()
    cfg.test_dataloader.dataset = dict(type="Concat", datasets=[inner, copy.deepcopy(inner)])
    for dataset in changed("derained", cfg).test_dataloader.dataset.datasets:
        assert dataset.pipeline == [LOAD, RAIN, DERAIN, PACK]


@pytest.mark.parametrize(
    "cfg",
    [
        config((LOAD, DERAIN, PACK)),
        config((LOAD, RAIN, PACK)),
        config(custom_hooks=[dict(type="jorder_preproc.DerainHook")]),
        config(default_hooks=dict(derain=dict(type="jorder_preproc.DerainHook"))),
    ],
)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_configs_that_rain_or_derain_are_refused(cfg, condition):
    with pytest.raises(ValueError, match="already: give it without"):
        changed(condition, cfg)


def test_a_pipeline_without_a_loader_is_refused():
    with pytest.raises(ValueError, match="image loader"):
        changed("rainy", config((PACK,)))


def test_choices(monkeypatch):
    with pytest.raises(ValueError, match="should be 'pipeline' or 'batch'"):
        Derainer(where="gpu")
    with pytest.raises(ValueError, match="should be False, True or 'auto'"):
        Derainer(deveil="on")
    with pytest.raises(ValueError, match="should be 'leave' or 'derain'"):
        Derainer(dry="keep")
    with pytest.raises(ValueError, match="leave it out with batch"):
        check_derainer(Derainer(where="batch", cache="folder"))
    with pytest.raises(ValueError, match="--deveil-weights are for --deveil on or auto"):
        check_derainer(Derainer(deveil_weights="missing.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors is neither"):
        check_derainer(Derainer(deveil=True, deveil_weights="missing.safetensors"))
    monkeypatch.setattr(conditions, "get_device", lambda: "cuda")
    check_derainer(Derainer(backend="openvino"))  # in the pipeline
    with pytest.raises(ValueError, match="batches are on cuda, openvino runs on the CPU"):
        check_derainer(Derainer(backend="openvino", where="batch"))


def test_int8_needs_ranges_before_any_work(tmp_path):
    derainer = Derainer(backend="onnxruntime", precision="int8")
    check_derainer(derainer)
    assert ranges_sha256(Derainer()) is None
    assert re.fullmatch("[0-9a-f]{64}", ranges_sha256(derainer))
    weights = tmp_path / "own.safetensors"
    save_weights(load_model("jorder_e_lite"), weights)
    with pytest.raises(ValueError, match=r"own\.int8\.json does not exist; measure them"):
        check_derainer(replace(derainer, weights=str(weights)))


def test_digests_of_the_weights(tmp_path):
    files = [tmp_path / "network", tmp_path / "deveil"]
    for file in files:
        file.write_bytes(file.name.encode())
    network, veil = (hashlib.sha256(file.name.encode()).hexdigest() for file in files)
    off = Derainer(weights=str(files[0]))
    assert weights_sha256(off) == (network, None)
    for deveil in (True, "auto"):
        on = Derainer(weights=str(files[0]), deveil=deveil, deveil_weights=str(files[1]))
        assert weights_sha256(on) == (network, veil)
    shipped = (JorderELite_Weights.DEFAULT, JorderDeveilLite_Weights.DEFAULT)
    assert weights_sha256(Derainer(deveil="auto")) == tuple(one.meta["sha256"] for one in shipped)
