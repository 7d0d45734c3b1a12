"""What runs on a GPU gives what the CPU gives: the same tests on each, `pytest -m gpu` on one.

The reference is one image after the other in float32 in eager mode on the CPU.
"""

import functools

import pytest
import skimage.data
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor

from jorder_preproc import JorderDerain, derain, load_model, synthesize_rain
from jorder_preproc.backends import use_backend
from jorder_preproc.openmmlab.mmdet import DerainDetDataPreprocessor
from tests.networks import random_deveil_network

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])])
def device(request, monkeypatch):
    if request.param == "cuda":
        # float32 as it is on the CPU, not TensorFloat-32
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    return request.param


@pytest.fixture(scope="module")
def clean():
    pixels = skimage.data.astronaut()[:131, :203]
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


@pytest.fixture(scope="module")
def images(clean):
    """In light and in heavy rain, and dry."""
    rainy = [synthesize_rain(clean, preset, 1, "x").rainy for preset in ("light", "heavy")]
    return torch.stack([*rainy, clean])


@pytest.fixture(scope="module")
def expected(images):
    network = load_model("jorder_e_lite")
    return [derain(network, one, with_streak_map=True, with_region_mask=True) for one in images]


@pytest.mark.parametrize("backend", ["torch", "compile"])
def test_a_batch(device, backend, images, expected, monkeypatch):
    if device == "cpu":  # without the minutes of a C++ compiler
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    network = use_backend(load_model("jorder_e_lite").to(device), backend)
    found = derain(network, images.to(device), with_streak_map=True, with_region_mask=True)
    assert found.background.device.type == device
    for name in ("background", "streak_map", "region_mask"):
        reference = torch.stack([getattr(one, name) for one in expected])
        torch.testing.assert_close(getattr(found, name).cpu(), reference, rtol=0, atol=1e-4)
    # dry: bit for bit
    assert torch.equal(found.background[2].cpu(), images[2])
    assert (found.background[:2].cpu() - images[:2]).abs().amax((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_tiles(device, dtype, images):
    image = torch.cat([images[1], images[0]], -1)
    if dtype == torch.uint8:
        image = (image * 255).round().byte()
    expected = derain(load_model("jorder_e_lite"), image).background
    found = derain(load_model("jorder_e_lite").to(device), image.to(device), tile=240).background
    assert found.dtype == dtype
    largest = 1 if dtype == torch.uint8 else 1e-4
    assert (found.cpu().double() - expected.double()).abs().max() <= largest


def test_bfloat16(device, images, expected):
    network = use_backend(load_model("jorder_e_lite").to(device), "torch", "bfloat16")
    found = derain(network, images[:2].to(device)).background
    assert found.dtype == torch.float32
    for one, reference in zip(found.cpu(), expected[:2], strict=True):
        assert (one - reference.background).square().mean().sqrt() < 0.5 / 255


def test_deveiling(device, images):
    network, deveiler = load_model("jorder_e_lite"), random_deveil_network()
    expected = derain(network, images[0], deveil=True, deveil_model=deveiler).background
    network.to(device), deveiler.to(device)
    found = derain(network, images[0].to(device), deveil=True, deveil_model=deveiler).background
    assert (expected - images[0]).abs().mean() > 0.05
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=2e-4)


def test_the_transform(device, images):
    pixels = (images * 255).round().byte()
    found = JorderDerain(device=device)(pixels)
    assert found.device == pixels.device  # where the image came from
    expected = torch.stack([JorderDerain(device="cpu")(one) for one in pixels])
    assert (found.int() - expected.int()).abs().max() <= 1
    assert (found != expected).float().mean() < 0.01


def test_a_batch_of_two_sizes_before_a_detector(device, images):
    """`DerainHook(where='batch')` has this preprocessor do the work, where the model is."""
    arguments = dict(mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], pad_size_divisor=32)
    pixels = (images * 255).round().byte()
    inputs = [pixels[0], pixels[1, :, :90, :120].clone(), pixels[2]]
    by_hand = [JorderDerain(device="cpu")(one.flip(0)).flip(0) for one in inputs]
    reference = DetDataPreprocessor(**arguments)({"inputs": by_hand, "data_samples": None})
    ours = DerainDetDataPreprocessor(derain={}, **arguments).to(device)
    found = ours({"inputs": inputs, "data_samples": None})["inputs"]
    assert found.device.type == device
    step = 1.001 / 57.1  # of 8 bits, after the normalisation
    assert (found.cpu() - reference["inputs"]).abs().max() <= step
    assert (found.cpu() != reference["inputs"]).float().mean() < 0.01
