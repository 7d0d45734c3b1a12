"""The albumentations transforms against the torchvision ones, serialised, replayed, in workers."""

import importlib
import json
import pickle
import sys

import albumentations as A
import numpy as np
import pytest

import jorder_preproc
from jorder_preproc.albumentations import JorderDerain, SynthesizeRain
from jorder_preproc.models import save_weights
from tests.networks import network_that_sees


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    save_weights(network_that_sees(rain_above=0.0), path)
    return path


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30), (20, 30, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_derains_and_rains_as_the_torchvision_transforms_do(weights, shape, dtype):
    image = pixels(*shape)
    image = image if dtype == np.uint8 else (image / 255).astype(dtype)
    for ours, theirs in (
        (JorderDerain(weights=weights), jorder_preproc.JorderDerain(weights=weights)),
        (SynthesizeRain("light", seed=3), jorder_preproc.SynthesizeRain("light", seed=3)),
    ):
        result = ours(image=image)["image"]
        assert (result.dtype, result.shape) == (image.dtype, image.shape)
        assert not np.array_equal(result, image)
        np.testing.assert_array_equal(result, theirs(image))


def test_the_mask_stays(weights):
    mask = pixels(20, 30)
    transform = A.Compose([SynthesizeRain(), JorderDerain(weights=weights)])
    np.testing.assert_array_equal(transform(image=pixels(20, 30, 3), mask=mask)["mask"], mask)


def test_a_serialised_pipeline_does_the_same(weights):
    pipeline = A.Compose(
        [SynthesizeRain("light", seed=1), JorderDerain(weights=weights, dry="derain", tile=600)]
    )
    content = json.loads(json.dumps(A.to_dict(pipeline)))
    derain = content["transform"]["transforms"][1]
    assert derain["__class_fullname__"] == "jorder_preproc.albumentations.JorderDerain"
    expected = {"p": 1.0, "weights": str(weights), "dry": "derain", "tile": 600}
    assert expected.items() <= derain.items()
    image = pixels(20, 30, 3)
    again = A.from_dict(content)
    np.testing.assert_array_equal(again(image=image)["image"], pipeline(image=image)["image"])
    for one, other in zip(again, pipeline, strict=True):
        assert repr(one) == repr(other)
        assert isinstance(pickle.loads(pickle.dumps(one)), type(other))


def test_rain_is_drawn_by_the_generator_of_the_pipeline():
    image = pixels(40, 50, 3)
    first, second = (A.Compose([SynthesizeRain()], seed=5) for _ in range(2))
    rainy = [first(image=image)["image"] for _ in range(2)]
    assert not np.array_equal(*rainy)
    for expected in rainy:
        np.testing.assert_array_equal(second(image=image)["image"], expected)


def test_a_replay_puts_the_same_rain_on_another_image():
    pipeline = A.ReplayCompose([SynthesizeRain("light")])
    black, grey = np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 60, np.uint8)
    done = pipeline(image=black)
    assert done["image"].any()
    replayed = A.ReplayCompose.replay(done["replay"], image=black)["image"]
    np.testing.assert_array_equal(replayed, done["image"])
    other = A.ReplayCompose.replay(done["replay"], image=grey)["image"]
    seed = done["replay"]["transforms"][0]["params"]["rain_seed"]
    expected = jorder_preproc.SynthesizeRain("light", seed)(grey, image_id=0)
    np.testing.assert_array_equal(other, expected)


def test_two_images_of_a_call_get_the_same_rain():
    pipeline = A.Compose([SynthesizeRain("light")], additional_targets={"right": "image"}, seed=0)
    result = pipeline(image=np.zeros((40, 50, 3), np.uint8), right=np.zeros((40, 50, 3), np.uint8))
    np.testing.assert_array_equal(result["image"], result["right"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: JorderDerain(modle="x"), TypeError, "modle"),
        (lambda: JorderDerain(model=3), TypeError, "model must be a name, got int"),
        (lambda: JorderDerain(dry="wet"), ValueError, "dry must be one of"),
        (lambda: SynthesizeRain("frogs"), ValueError, "unknown preset 'frogs'"),
        (lambda: SynthesizeRain(seed=-1), ValueError, "seed must be >= 0"),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("module", "needs", "extra"),
    [
        ("jorder_preproc.albumentations", "albumentations", "albumentations"),
        ("jorder_preproc.hub", "huggingface_hub", "hub"),
    ],
)
def test_without_the_extra(module, needs, extra, monkeypatch):
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, needs, None)
    with pytest.raises(ImportError, match=rf"pip install 'jorder-preproc\[{extra}\]'"):
        importlib.import_module(module)
