"""The pipeline transforms and the batches of data preprocessors on images drawn by Hypothesis."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mmengine.model import BaseDataPreprocessor

from jorder_preproc import transforms
from jorder_preproc.openmmlab.batch import DerainInputs
from jorder_preproc.openmmlab.transforms import JorderDerain, SynthesizeRain
from tests.networks import tiny_network
from tests.strategies import LAYOUTS, few, lay_out, lay_out_tensor, noise, sizes

TINY = tiny_network()
PAIRS = {
    "derain": (JorderDerain(TINY), transforms.JorderDerain(TINY)),
    "rain": (
        SynthesizeRain("light", 2, "/data"),
        lambda image: transforms.SynthesizeRain("light", 2)(image, image_id="a/b.jpg"),
    ),
}


def host_values(size, channels, dtype) -> np.ndarray:
    """BGR, or grey, in 0 to 255."""
    values = noise((*size, channels) if channels else size, dtype)
    return values if dtype == "uint8" else values * np.asarray(255, dtype)


@pytest.mark.parametrize("kind", PAIRS)
@few(40)
@given(
    size=sizes(),
    channels=st.sampled_from([0, 1, 3]),
    dtype=st.sampled_from(["uint8", "float32", "float64"]),
    layout=st.sampled_from(LAYOUTS),
)
@example((333, 650), 3, "uint8", "negative")
def test_pipeline_transforms(kind, size, channels, dtype, layout):
    """As the torchvision transform on a plain RGB image, on the scale of the host."""
    values = host_values(size, channels, dtype)
    image = lay_out(values, layout)
    before = image.copy()
    target = {"boxes": np.ones((2, 4))}
    results = {"img": image, "img_path": "/data/a/b.jpg", "img_shape": size, "target": target}
    step, reference = PAIRS[kind]
    actual = step(dict(results))
    assert actual.keys() == results.keys()
    assert all(actual[key] is results[key] for key in results if key != "img")
    np.testing.assert_array_equal(image, before)
    found = actual["img"]
    assert (type(found), found.shape) == (np.ndarray, image.shape)
    assert found.dtype == image.dtype and found.flags.c_contiguous
    rgb = values[..., ::-1].copy() if channels == 3 else values
    if dtype == "uint8":
        expected, tolerance = reference(rgb).astype(int), 1
    else:
        expected, tolerance = reference(rgb / np.asarray(255, dtype)) * 255, 1e-2
    expected = expected[..., ::-1] if channels == 3 else expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert (found != expected.astype(found.dtype)).mean() < 0.02 or dtype != "uint8"
    np.testing.assert_array_equal(step(dict(results))["img"], found)


@few(25)
@given(
    shapes=st.lists(st.sampled_from([(24, 31), (24, 31), (9, 40), (1, 1)]), max_size=4),
    dtype=st.sampled_from(["uint8", "float32"]),
    layout=st.sampled_from(["plain", "turned", "strided", "channels last"]),
    stacked=st.booleans(),
    nested=st.booleans(),
)
def test_batches(shapes, dtype, layout, stacked, nested):
    """Each image of a batch as by itself, in order, whatever lies beside it."""
    if stacked:
        shapes = [(24, 31)] * len(shapes)
    images = [
        lay_out_tensor(torch.from_numpy(host_values(size, 3, dtype)).permute(2, 0, 1), layout)
        for size in shapes
    ]
    inputs = torch.stack(images) if stacked and images else images
    inputs = [inputs, inputs] if nested and images else inputs
    before = copy.deepcopy(inputs)
    derainer, host = DerainInputs(model=TINY), BaseDataPreprocessor()
    result = derainer.derain(host, inputs)
    torch.testing.assert_close(inputs, before, rtol=0, atol=0)
    for batch in result if nested and images else [result]:
        assert len(batch) == len(images)
        for image, found in zip(images, batch, strict=True):
            bgr = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            expected = PAIRS["derain"][0]({"img": bgr})["img"]
            assert (found.shape, found.dtype) == (image.shape, image.dtype)
            np.testing.assert_allclose(
                found.permute(1, 2, 0), expected, rtol=0, atol=1 if dtype == "uint8" else 1e-2
            )
