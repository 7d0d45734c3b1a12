"""Names in configs find the right classes, in fresh processes, with nothing imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# One process imports what takes long, but nothing of ours, and forks into one for each program.
SERVER = """
import contextlib, io, json, os, sys, traceback
import mmcv.transforms, mmengine.runner, mmdet.datasets, mmdet.models, mmseg.datasets, mmseg.models
assert not any(name.startswith("jorder_preproc") for name in sys.modules)
results = {}
for name, program in json.load(sys.stdin).items():
    receive, send = os.pipe()
    if os.fork() == 0:
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                exec(program, {})
        except BaseException:
            output = io.StringIO("failed: " + traceback.format_exc())
        os.write(send, output.getvalue()[:60000].encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as file:
        results[name] = file.read()
    os.wait()
json.dump(results, sys.__stdout__)
"""

NAMES = """
from mmengine.registry import HOOKS, TRANSFORMS, init_default_scope
if {scope!r}:
    init_default_scope({scope!r})
for name in ("JorderDerain", "SynthesizeRain"):
    built = TRANSFORMS.build(dict(type="jorder_preproc." + name))
    assert type(built).__module__ == "jorder_preproc.openmmlab.transforms", type(built)
hook = HOOKS.build(dict(type="jorder_preproc.DerainHook"))
assert type(hook).__module__ == "jorder_preproc.openmmlab.hook", type(hook)
"""

BOTH = """
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
from mmdet.registry import TRANSFORMS as DET
from mmseg.registry import TRANSFORMS as SEG
for scope, registry in (("mmdet", DET), ("mmseg", SEG), ("mmdet", DET)):
    init_default_scope(scope)
    pack = dict(mmdet="PackDetInputs", mmseg="PackSegInputs")[scope]
    for build in (registry.build, TRANSFORMS.build):
        built = build(dict(type="jorder_preproc.JorderDerain"))
        assert type(built).__module__ == "jorder_preproc.openmmlab.transforms", type(built)
        assert type(build(dict(type=pack))).__module__.startswith(scope)
    for name, host in (("Det", "DetDataPreprocessor"), ("Seg", "SegDataPreProcessor")):
        built = MODELS.build(dict(type=f"jorder_preproc.Derain{name}DataPreprocessor"))
        assert any(parent.__name__ == host for parent in type(built).__mro__)
"""

# the fork's packages hold no lazy configs of their own
LAZY_BASE = """
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import VOCDataset
from mmdet.datasets.transforms import PackDetInputs
from mmengine.dataset import ConcatDataset
from mmengine.hooks import LoggerHook

default_hooks = dict(logger=dict(type=LoggerHook))
test_pipeline = [dict(type=LoadImageFromFile), dict(type=PackDetInputs)]
dataset = dict(type=VOCDataset, pipeline=test_pipeline)
test_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dict(type=ConcatDataset, datasets=[dataset]))
"""

LAZY = """
from mmengine.config import read_base

with read_base():
    from .base import *

from mmcv.transforms import LoadImageFromFile
from jorder_preproc.openmmlab import DerainHook, JorderDerain

test_pipeline = [dict(type=LoadImageFromFile), dict(type=JorderDerain, tile=512)]
test_dataloader.dataset.pipeline = test_pipeline
default_hooks.derain = dict(type=DerainHook, when="test")
"""

BUILD_LAZY = """
from mmengine.config import Config
from mmengine.registry import HOOKS, init_default_scope
from mmcv.transforms import Compose
init_default_scope("mmdet")
lazy = Config.fromfile({path!r})
lazy.dump({path!r} + ".dumped.py")
for cfg in (lazy, Config.fromfile({path!r} + ".dumped.py")):
    built = Compose(cfg.test_dataloader.dataset.pipeline).transforms[1]
    assert type(built).__module__ == "jorder_preproc.openmmlab.transforms"
    hook = HOOKS.build(cfg.default_hooks.derain)
    assert type(hook).__module__ == "jorder_preproc.openmmlab.hook"
from jorder_preproc.openmmlab import patch_config
dataset = patch_config(lazy).val_dataloader.dataset.datasets[0]
names = [type(transform).__name__ for transform in Compose(dataset.pipeline).transforms]
assert names == ["LoadImageFromFile", "JorderDerain", "PackDetInputs"], names
assert len(Compose(lazy.test_dataloader.dataset.pipeline).transforms) == 2
"""

MISSING = """
import sys
sys.modules["mmengine"] = None
import jorder_preproc
try:
    import jorder_preproc.openmmlab
except ImportError as error:
    print(error)
"""

WITHOUT_MMCV = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "mmcv"]:
    del sys.modules[name]
sys.modules["mmcv"] = None
from mmengine.registry import TRANSFORMS
print(TRANSFORMS.build(dict(type="jorder_preproc.JorderDerain")))
"""

SCOPES = [None, "mmengine", "mmdet", "mmseg"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, str]:
    """What each program printed."""
    lazy = tmp_path_factory.mktemp("lazy") / "lazy.py"
    lazy.write_text(LAZY)
    lazy.with_name("base.py").write_text(LAZY_BASE)
    programs = {f"names {scope}": NAMES.format(scope=scope) for scope in SCOPES}
    programs |= {"without mmengine": MISSING, "without mmcv": WITHOUT_MMCV}
    programs |= {"both": BOTH, "lazy": BUILD_LAZY.format(path=str(lazy))}
    command = [sys.executable, "-W", "ignore", "-c", SERVER]
    result = subprocess.run(
        command, input=json.dumps(programs), capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("scope", SCOPES)
def test_names_build_under_any_default_scope(outputs, scope):
    assert outputs[f"names {scope}"] == ""


def test_mmdet_and_mmseg_in_one_process(outputs):
    assert "failed" not in outputs["both"], outputs["both"]


def test_lazy_config(outputs):
    """Pure Python configs, by class and by name, dumped as text, and patched."""
    assert "failed" not in outputs["lazy"], outputs["lazy"]


def test_import_without_mmengine_says_what_to_install(outputs):
    output = outputs["without mmengine"]
    assert "needs MMEngine" in output and "pip install 'jorder-preproc[openmmlab]'" in output


def test_the_transforms_need_mmengine_alone(outputs):
    assert "JorderDerain(" in outputs["without mmcv"]
