"""What holds for every image that the transforms take, on images drawn by Hypothesis.

The reference takes the values out of the image as a plain float tensor, by NumPy alone, calls
`derain` or `synthesize_rain` on each frame by itself, and rounds as NumPy does.
"""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from jorder_preproc import JorderDerain, SynthesizeRain, derain, rain_image, synthesize_rain
from jorder_preproc.models import load_model
from tests.networks import tiny_network
from tests.strategies import LAYOUTS, few, lay_out, lay_out_tensor, noise, sizes

WHITE = {"uint8": 255, "uint16": 65535}
ARRAY_DTYPES = ("uint8", "uint16", "float16", "float32", "float64")
TENSOR_DTYPES = ("uint8", "uint16", "float16", "bfloat16", "float32", "float64")
MODES = {"L": 1, "LA": 2, "I;16": 1, "RGB": 3, "RGBA": 4}


def frames_of(values: np.ndarray) -> torch.Tensor:
    """Plain float32 RGB (N, 3, H, W) of an array (N, H, W, C)."""
    scaled = values.astype(np.float64) / WHITE.get(values.dtype.name, 1)
    rgb = np.broadcast_to(scaled, (*scaled.shape[:3], 3)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2)))


def values_of(frames: torch.Tensor, like: np.ndarray) -> np.ndarray:
    """The inverse, float64 on the scale of `like`, an array (N, H, W, C)."""
    values = frames.double().numpy().transpose(0, 2, 3, 1)
    if like.shape[-1] == 1:
        values = values.mean(-1, keepdims=True)
    return values * WHITE.get(like.dtype.name, 1)


def reference(values: np.ndarray, change) -> np.ndarray:
    frames = frames_of(values)
    changed = [change(frame, number) for number, frame in enumerate(frames)]
    return values_of(torch.stack(changed) if changed else frames, values)


def assert_same(actual: np.ndarray, expected: np.ndarray, resolution: float | None = None) -> None:
    """Equal up to rounding: half a step, and what float32 differs by in another layout."""
    white = WHITE.get(actual.dtype.name)
    if resolution is None:
        resolution = 0.5 if white else float(np.finfo(actual.dtype).eps)
    tolerance = 2e-5 * (white or 1) + resolution
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=0, atol=tolerance)
    assert np.isfinite(actual).all()


def derain_each(network):
    return lambda frame, _number: derain(network, frame).background


def rain_each(name):
    """Rain of frames, by the names that `rain_image` documents."""
    return lambda frame, n: synthesize_rain(frame, "light", 3, f"{name}#{n}" if n else name).rainy


TINY = tiny_network()
CHANGES = {
    "derain": (JorderDerain(TINY), derain_each(TINY)),
    "rain": (lambda image: rain_image(image, "light", 3, "a/é.jpg"), rain_each("a/é.jpg")),
}
batches = st.one_of(st.none(), st.integers(0, 4))


@pytest.mark.parametrize("kind", CHANGES)
@few(40)
@given(
    size=sizes(),
    batch=batches,
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from(ARRAY_DTYPES),
    layout=st.sampled_from(LAYOUTS),
)
@example(size=(633, 498), batch=None, channels=3, dtype="uint8", layout="negative")
def test_arrays(kind, size, batch, channels, dtype, layout):
    values = noise((*(() if batch is None else (batch,)), *size, channels), dtype)
    image = lay_out(values, layout)
    before, given_dtype, writeable = image.copy(), image.dtype, image.flags.writeable
    transform, change = CHANGES[kind]
    actual = transform(image)
    assert type(actual) is np.ndarray
    assert (actual.shape, actual.dtype) == (image.shape, given_dtype)
    np.testing.assert_array_equal(image, before)
    assert image.flags.writeable == writeable
    np.testing.assert_array_equal(transform(image), actual)
    expected = reference(values.reshape(-1, *size, channels), change)
    assert_same(actual, expected.reshape(image.shape))


@pytest.mark.parametrize("kind", CHANGES)
@few(40)
@given(
    size=sizes(),
    batch=batches,
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from(TENSOR_DTYPES),
    layout=st.sampled_from(["plain", "turned", "strided", "channels last", "expanded"]),
    wrap=st.sampled_from([torch.Tensor, tv_tensors.Image, tv_tensors.Video]),
)
@example((5, 6), 2, 3, "float32", "expanded", tv_tensors.Video)
@example((444, 603), None, 3, "float32", "turned", torch.Tensor)
def test_tensors(kind, size, batch, channels, dtype, layout, wrap):
    if wrap is tv_tensors.Video and batch is None:
        batch = 1
    torch_dtype = getattr(torch, dtype)
    values = noise((*(() if batch is None else (batch,)), *size, channels), np.float64)
    if layout == "expanded":  # one channel in the place of three
        values = np.repeat(values[..., :1], channels, -1)
    scaled = torch.from_numpy(values).movedim(-1, -3) * WHITE.get(dtype, 1)
    plain = scaled.round().to(torch_dtype) if dtype in WHITE else scaled.to(torch_dtype)
    plain = plain.contiguous()
    if layout == "expanded":
        image = plain[..., :1, :, :].expand(plain.shape)
    else:
        image = lay_out_tensor(plain, layout)
    image = image if wrap is torch.Tensor else wrap(image)
    transform, change = CHANGES[kind]
    actual = transform(image)
    assert type(actual) is type(image)
    assert (actual.shape, actual.dtype, actual.device) == (image.shape, torch_dtype, image.device)
    assert torch.equal(image.as_subclass(torch.Tensor), plain)
    assert torch.equal(transform(image), actual)
    exact = plain if dtype in WHITE else plain.float()
    stored = exact.movedim(-3, -1).numpy().reshape(-1, *size, channels)
    expected = reference(stored, change)
    resolution = None if dtype in WHITE else float(torch.finfo(torch_dtype).eps)
    plain_actual = actual.as_subclass(torch.Tensor)
    found = plain_actual if dtype in WHITE else plain_actual.double()
    assert_same(found.movedim(-3, -1).numpy().reshape(expected.shape), expected, resolution)


@pytest.mark.parametrize("kind", CHANGES)
@few(25)
@given(size=sizes(), mode=st.sampled_from(list(MODES)))
@example((514, 387), "RGBA")
def test_pil_images(kind, size, mode):
    channels = MODES[mode]
    values = noise((*size, channels), "uint16" if mode == "I;16" else "uint8")
    image = Image.fromarray(values[..., 0] if channels == 1 else values)
    image.info["dpi"] = (300, 300)
    assert image.mode == mode
    transform, change = CHANGES[kind]
    actual = transform(image)
    assert (type(actual), actual.mode, actual.size) == (Image.Image, mode, image.size)
    assert actual.info == image.info
    found = np.asarray(actual).reshape(values.shape)
    np.testing.assert_array_equal(np.asarray(image).reshape(values.shape), values)
    np.testing.assert_array_equal(np.asarray(transform(image)).reshape(values.shape), found)
    colours = slice(None, -1) if channels in (2, 4) else slice(None)
    assert_same(found[..., colours], reference(values[None, ..., colours], change)[0])
    if channels in (2, 4):
        np.testing.assert_array_equal(found[..., -1], values[..., -1])


@few(25)
@given(
    size=sizes(),
    transform=st.sampled_from([JorderDerain(TINY), SynthesizeRain("light", 3)]),
    others=st.lists(
        st.sampled_from(["label", 7, 0.5, None, "mask", "boxes", "array", "plain"]), max_size=6
    ),
    place=st.integers(0, 6),
    nested=st.booleans(),
)
def test_labels_are_the_same_objects(size, transform, others, place, nested):
    made = {
        "mask": tv_tensors.Mask(torch.ones(size, dtype=torch.uint8)),
        "boxes": tv_tensors.BoundingBoxes(torch.ones(2, 4), format="XYXY", canvas_size=size),
        "array": noise((*size, 3), "uint8"),
        "plain": torch.rand(3, *size),
    }
    labels = [made.get(other, other) for other in others]
    copies = [other.clone() if isinstance(other, torch.Tensor) else other for other in labels]
    image = tv_tensors.Image(torch.from_numpy(noise((3, *size), "uint8")))
    sample = [*labels[:place], image, *labels[place:]]
    if nested:
        sample = {"first": sample[: place + 1], "second": tuple(sample[place + 1 :])}
    result = transform(sample)
    if nested:
        assert list(result) == ["first", "second"] and type(result["second"]) is tuple
        result = [*result["first"], *result["second"]]
    position = min(place, len(labels))
    assert torch.equal(result.pop(position), transform(image))
    for label, copy, after in zip(labels, copies, result, strict=True):
        assert after is label
        if isinstance(label, torch.Tensor):
            assert torch.equal(label, copy)


@few(6)
@given(size=sizes(), value=st.sampled_from([0.0, 1.0, None]), veiled=st.sampled_from([False, True]))
@example((301, 407), None, True)
def test_the_shipped_networks_give_finite_images(size, value, veiled):
    """Flat images too, which have no contrast to divide by."""
    image = noise((*size, 3), "float32") if value is None else np.full((*size, 3), value, "f4")
    transform = JorderDerain(deveil=veiled, dry="derain")
    actual = transform(image)
    assert actual.shape == image.shape and np.isfinite(actual).all()
    assert actual.min() >= 0 and actual.max() <= 1
    np.testing.assert_array_equal(transform(image.copy()), actual)
    if not veiled:
        frame = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        expected = derain(load_model(), frame, dry="derain").background.permute(1, 2, 0)
        np.testing.assert_allclose(actual, expected, atol=2e-5)
