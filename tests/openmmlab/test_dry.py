"""The choice `dry`, and images without rain, on every way into MMEngine."""

import copy

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from jorder_preproc.models import save_weights
from jorder_preproc.openmmlab import DerainHook, JorderDerain, patch_config
from jorder_preproc.openmmlab.mmdet import DerainDetDataPreprocessor
from jorder_preproc.openmmlab.mmseg import DerainSegDataPreprocessor
from tests.networks import network_that_sees
from tests.openmmlab.stack import DERAIN, derained, photo, run_test, use_hook

MODEL = "jorder_e_lite"
BRIGHT, DARK = photo(24, 40), (0.3 * photo(24, 40, 2)).astype(np.uint8)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory) -> dict:
    """Arguments of a network that sees rain in `BRIGHT` alone."""
    assert BRIGHT.mean() > 0.36 * 255 and DARK.mean() < 0.24 * 255
    path = tmp_path_factory.mktemp("weights") / "sees.safetensors"
    save_weights(network_that_sees(0.3), path)
    return dict(model=MODEL, weights=str(path))


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_transform(seeing, dtype):
    bright, dark = BRIGHT.astype(dtype), DARK.astype(dtype)
    leave, always = JorderDerain(**seeing), JorderDerain(**seeing, dry="derain")
    np.testing.assert_array_equal(leave({"img": dark.copy()})["img"], dark)
    assert (always({"img": dark.copy()})["img"] != dark).any()
    changed = leave({"img": bright.copy()})["img"]
    assert (changed != bright).any()
    np.testing.assert_array_equal(always({"img": bright.copy()})["img"], changed)
    if dtype == np.uint8:
        np.testing.assert_array_equal(changed, derained(bright, **seeing))


@pytest.mark.parametrize("kind", [DerainDetDataPreprocessor, DerainSegDataPreprocessor])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_of_a_batch_is_decided_on_its_own(seeing, kind, dtype):
    for dry in ("leave", "derain"):
        ours = kind(derain=dict(**seeing, dry=dry))
        for _ in range(2):  # the first batch moves it to the device
            inputs = [tensor(image).to(dtype) for image in (BRIGHT, DARK, BRIGHT)]
            samples = [DetDataSample() for _ in inputs]
            results = ours({"inputs": inputs, "data_samples": samples})["inputs"]
            same = [torch.equal(a, b.float()) for a, b in zip(results, inputs, strict=True)]
            assert same == [False, dry == "leave", False]


@pytest.mark.parametrize("where", ["pipeline", "batch"])
def test_hook_and_config(det, seeing, where):
    """With a network that never sees rain the model gets what it gets without a derainer."""
    network = network_that_sees(2.0)
    save_weights(network, seeing["weights"].replace("sees", "never"))
    never = dict(seeing, weights=seeing["weights"].replace("sees", "never"))

    def scores(cfg):
        return torch.cat([sample.pred_instances.scores for sample in run_test(cfg).outputs])

    plain = scores(det)
    assert torch.equal(scores(use_hook(det, where=where, **never)), plain)
    assert not torch.equal(scores(use_hook(det, where=where, dry="derain", **never)), plain)
    if where == "pipeline":
        patched = patch_config(copy.deepcopy(det), **never, dry="derain")
        assert patched.test_pipeline[1] == dict(type=DERAIN, **never, dry="derain")
        assert not torch.equal(scores(patched), plain)
        assert "dry" not in patch_config(copy.deepcopy(det), **never).test_pipeline[1]


@pytest.mark.parametrize(
    "build",
    [
        JorderDerain,
        DerainHook,
        lambda **arguments: DerainHook(where="batch", **arguments),
        lambda **arguments: DerainDetDataPreprocessor(derain=arguments),
        lambda **arguments: DerainSegDataPreprocessor(derain=arguments),
        lambda **arguments: patch_config({}, **arguments),
    ],
)
def test_another_choice_is_refused(build):
    with pytest.raises(ValueError, match="dry must be one of leave, derain, got 'keep'"):
        build(dry="keep")
