"""Names in configs find the right classes, in fresh processes, with nothing imported."""

import subprocess
import sys

import pytest


def run(program: str) -> str:
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    return result.stdout.decode()


@pytest.mark.parametrize("scope", [None, "mmengine", "mmdet", "mmseg"])
def test_names_build_under_any_default_scope(scope):
    run(f"""
import sys
from mmengine.registry import HOOKS, TRANSFORMS, init_default_scope
if {scope!r}:
    init_default_scope({scope!r})
assert not any(name.startswith("jorder_preproc") for name in sys.modules)
for name in ("JorderDerain", "SynthesizeRain"):
    built = TRANSFORMS.build(dict(type="jorder_preproc." + name))
    assert type(built).__module__ == "jorder_preproc.openmmlab.transforms", type(built)
hook = HOOKS.build(dict(type="jorder_preproc.DerainHook"))
assert type(hook).__module__ == "jorder_preproc.openmmlab.hook", type(hook)
""")


def test_mmdet_and_mmseg_in_one_process():
    run("""
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
import mmdet.datasets, mmdet.models, mmseg.datasets, mmseg.models
from mmdet.registry import TRANSFORMS as DET
from mmseg.registry import TRANSFORMS as SEG
for scope, registry in (("mmdet", DET), ("mmseg", SEG), ("mmdet", DET)):
    init_default_scope(scope)
    for build in (registry.build, TRANSFORMS.build):
        steps = [build(dict(type="LoadImageFromFile")), build(dict(type="PackDetInputs"))
                 if scope == "mmdet" else build(dict(type="PackSegInputs"))]
        built = build(dict(type="jorder_preproc.JorderDerain"))
        assert type(built).__module__ == "jorder_preproc.openmmlab.transforms", type(built)
        assert type(steps[1]).__module__.startswith(scope)
    for name, host in (("Det", "DetDataPreprocessor"), ("Seg", "SegDataPreProcessor")):
        built = MODELS.build(dict(type=f"jorder_preproc.Derain{name}DataPreprocessor"))
        assert any(parent.__name__ == host for parent in type(built).__mro__)
""")


LAZY = """
from mmengine.config import read_base

with read_base():
    from mmdet.configs.faster_rcnn.faster_rcnn_r50_fpn_1x_coco import *

from mmcv.transforms import LoadImageFromFile
from jorder_preproc.openmmlab import DerainHook, JorderDerain

test_pipeline = [dict(type=LoadImageFromFile), dict(type=JorderDerain, tile=512)]
test_dataloader.dataset.pipeline = test_pipeline
default_hooks.derain = dict(type=DerainHook, when="test")
"""


def test_lazy_config(tmp_path):
    """Pure Python configs, by class and by name, and dumped as text."""
    (tmp_path / "lazy.py").write_text(LAZY)
    run(f"""
from mmengine.config import Config
from mmengine.registry import HOOKS, init_default_scope
from mmcv.transforms import Compose
init_default_scope("mmdet")
lazy = Config.fromfile({str(tmp_path / "lazy.py")!r})
lazy.dump({str(tmp_path / "dumped.py")!r})
for cfg in (lazy, Config.fromfile({str(tmp_path / "dumped.py")!r})):
    built = Compose(cfg.test_dataloader.dataset.pipeline).transforms[1]
    assert type(built).__module__ == "jorder_preproc.openmmlab.transforms"
    hook = HOOKS.build(cfg.default_hooks.derain)
    assert type(hook).__module__ == "jorder_preproc.openmmlab.hook"
""")


@pytest.mark.parametrize("missing", ["mmengine", "mmcv"])
def test_import_without_the_stack_says_what_to_install(missing):
    output = run(f"""
import sys
sys.modules[{missing!r}] = None
import jorder_preproc
try:
    import jorder_preproc.openmmlab
except ImportError as error:
    print(error)
""")
    assert "needs MMEngine and mmcv" in output
    assert missing in output and "pip install 'jorder-preproc[openmmlab]'" in output
