"""The deraining data preprocessors against their hosts on images derained by hand."""

import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmseg.models import SegDataPreProcessor

from jorder_preproc.openmmlab.mmdet import DerainDetDataPreprocessor
from jorder_preproc.openmmlab.mmseg import DerainSegDataPreprocessor
from tests.openmmlab.stack import derained, photo

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
NORM = dict(mean=MEAN, std=STD, bgr_to_rgb=True)
# what one step of 8 bits is after the normalisation, with room for its rounding
STEP = 1.001 / min(STD)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def assert_close(actual, expected):
    """Images run together may round one step of 8 bits otherwise than alone."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= STEP
    assert (actual != expected).float().mean() < 0.01


def test_detection_with_images_of_two_sizes(weights):
    images = [photo(24, 40), photo(33, 20, 1), photo(24, 40, 2)]
    arguments = dict(**NORM, pad_size_divisor=32)
    ours = DerainDetDataPreprocessor(derain=dict(weights=weights), **arguments)
    host = DetDataPreprocessor(**arguments)
    given = [tensor(image) for image in images]
    data = {"inputs": given, "data_samples": [DetDataSample() for _ in images]}
    actual = ours(data)
    by_hand = [tensor(derained(image, weights)) for image in images]
    expected = host({"inputs": by_hand, "data_samples": [DetDataSample() for _ in images]})
    assert_close(actual["inputs"], expected["inputs"])
    for one, other in zip(actual["data_samples"], expected["data_samples"], strict=True):
        assert one.metainfo == other.metainfo
    # the caller's batch is left alone
    assert data["inputs"] is given
    assert all(torch.equal(one, tensor(image)) for one, image in zip(given, images, strict=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_segmentation(weights, dtype):
    images = [photo(24, 40), photo(24, 40, 1)]
    arguments = dict(**NORM, test_cfg=dict(size_divisor=16))
    ours = DerainSegDataPreprocessor(derain=dict(weights=weights), **arguments)
    host = SegDataPreProcessor(**arguments)
    samples = [DetDataSample() for _ in images]
    inputs = [tensor(image).to(dtype) for image in images]
    actual = ours({"inputs": inputs, "data_samples": samples})["inputs"]
    by_hand = [tensor(derained(image, weights)) for image in images]
    expected = host({"inputs": by_hand, "data_samples": samples})["inputs"]
    if dtype == torch.uint8:
        assert_close(actual, expected)
    else:  # not rounded
        assert actual.shape == expected.shape
        assert (actual - expected).abs().max() <= STEP


@pytest.mark.parametrize("deveil", [True, "auto"])
@pytest.mark.parametrize("host", ["mmdet", "mmseg"])
def test_images_with_and_without_a_veil(host, weights, deveil_weights, deveil):
    images = [photo(24, 40), (0.3 * photo(24, 40, 1)).astype(np.uint8), photo(24, 40, 2)]
    arguments = dict(deveil=deveil, deveil_weights=deveil_weights)
    kind = {"mmdet": DerainDetDataPreprocessor, "mmseg": DerainSegDataPreprocessor}[host]
    ours = kind(derain=dict(weights=weights, **arguments))
    for _ in range(2):  # the same at the first batch, which moves it to the device, and later
        inputs = [tensor(image) for image in images]
        actual = ours({"inputs": inputs, "data_samples": [DetDataSample() for _ in images]})
        for image, one in zip(images, actual["inputs"], strict=True):
            expected = tensor(derained(image, weights, **arguments)).float()
            assert (one - expected).abs().max() <= 1
            assert (one != expected).float().mean() < 0.01
            without = tensor(derained(image, weights)).float()
            if deveil == "auto" and image.mean() < 60:
                assert torch.equal(expected, without)
            else:
                assert (expected - without).abs().mean() > 5


def test_a_stacked_batch(weights):
    """`default_collate` instead of MMEngine's `pseudo_collate`."""
    images = [photo(24, 40), photo(24, 40, 1)]
    ours = DerainDetDataPreprocessor(derain=dict(weights=weights), **NORM)
    apart = [tensor(image) for image in images]
    expected = ours({"inputs": apart, "data_samples": None})["inputs"]
    actual = ours({"inputs": torch.stack(apart), "data_samples": None})["inputs"]
    assert torch.equal(actual, expected)


def test_training_batches_only_if_asked_for(weights):
    host = DetDataPreprocessor(**NORM)
    image = tensor(photo(24, 40))

    def run(preprocessor, *args, **kwargs):
        return preprocessor({"inputs": [image], "data_samples": None}, *args, **kwargs)["inputs"]

    plain = run(host)
    ours = DerainDetDataPreprocessor(derain=dict(weights=weights), **NORM)
    assert torch.equal(run(ours, True), plain)
    assert torch.equal(run(ours, training=True), plain)
    assert not torch.equal(run(ours, False), plain)
    trained = DerainDetDataPreprocessor(derain=dict(weights=weights, train=True), **NORM)
    assert torch.equal(run(trained, True), run(ours))


def test_nothing_is_added_to_the_checkpoint(weights):
    ours = DerainDetDataPreprocessor(derain=dict(weights=weights), **NORM)
    ours({"inputs": [tensor(photo(24, 40))], "data_samples": None})
    assert not list(ours.parameters())
    assert ours.state_dict().keys() == DetDataPreprocessor(**NORM).state_dict().keys()


def test_errors(weights):
    with pytest.raises(TypeError, match="size_divisr"):
        DerainSegDataPreprocessor(size_divisr=3)
    with pytest.raises(TypeError, match="wieghts"):
        DerainDetDataPreprocessor(derain=dict(wieghts=weights))
    with pytest.raises(ValueError, match="unknown model"):
        DerainDetDataPreprocessor(derain=dict(model="jorder_x"))
    with pytest.raises(ValueError, match="deveil must be False, True or 'auto', got 'on'"):
        DerainSegDataPreprocessor(derain=dict(deveil="on"))
    with pytest.raises(ValueError, match="deveil_weights are for deveil=True or 'auto'"):
        DerainDetDataPreprocessor(derain=dict(deveil_weights=weights))
    ours = DerainDetDataPreprocessor(derain=dict(weights=weights))
    with pytest.raises(ValueError, match="in 0 to 255, got values from -1"):
        ours({"inputs": [-torch.ones(3, 20, 20)], "data_samples": None})
