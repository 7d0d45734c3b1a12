import math

import numpy as np
import pytest
import torch

from jorder_preproc.functional import windows
from jorder_preproc.functional.windows import convert, overview, spans, strips

SIZES = [((7, 10), (3, 4)), ((8, 6), (8, 6)), ((5, 300), (1, 7)), ((3, 2), (4, 6))]


def pixels(*shape: int, dtype: type = np.uint8) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype))


def test_every_tile_starts_on_a_multiple_and_fits():
    found = list(spans(501, 200, 84, 2, 2))
    covered = np.concatenate([np.arange(501)[span.target] for span in found])
    np.testing.assert_array_equal(covered, np.arange(501))
    for span in found:
        assert span.source[0] % 2 == 0 and len(span.source) % 2 == 0 and len(span.source) <= 200
        np.testing.assert_array_equal(span.source[span.keep], np.arange(501)[span.target])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_padding_reflects_like_numpy(size):
    (span,) = spans(size, None, 84, 4, 4)
    expected = np.pad(np.arange(size), (0, len(span.source) - size), mode="reflect")
    np.testing.assert_array_equal(span.source, expected)
    assert len(span.source) % 4 == 0 and len(span.source) >= 16


def test_strips_hold_as_many_pixels_as_they_may(monkeypatch):
    monkeypatch.setattr(windows, "PIXELS_AT_ONCE", 100)
    rows = [(s.start, s.stop) for s in strips(torch.empty(2, 3, 11, 12))]
    assert rows == [(0, 4), (4, 8), (8, 11)]
    assert len(list(strips(torch.empty(2, 3, 11, 200)))) == 11


def slow_overview(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means of (C, H, W) over cells that cover the image; each takes the pixels it touches."""
    rows, columns = image.shape[1:]
    means = np.empty((len(image), height, width))
    for y, x in np.ndindex(height, width):
        top, bottom = math.floor(y * rows / height), math.ceil((y + 1) * rows / height)
        left, right = math.floor(x * columns / width), math.ceil((x + 1) * columns / width)
        means[:, y, x] = image[:, top:bottom, left:right].mean((1, 2))
    return means


@pytest.mark.parametrize(("size", "cells"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_overview_of_floats_is_the_mean_of_cells(size, cells, dtype):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = overview(images, *cells)
    assert found.dtype == torch.float32
    expected = [slow_overview(image, *cells) for image in images.double().numpy()]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("size", "cells"), SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_overview_of_pixels_is_that_of_floats(size, cells, dtype):
    images = pixels(2, 3, *size, dtype=dtype)
    found = overview(images, *cells)
    assert found.dtype == torch.float32
    expected = overview(images.double() / np.iinfo(dtype).max, *cells)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_steps_of_another_dtype_are_the_nearest():
    # a step of 8 bits is 257 of 16; 128 and 129 lie on either side of half of it
    wide = np.array([0, 128, 129, 257, 32767, 65406, 65407, 65535], np.uint16).reshape(1, 1, 1, -1)
    narrow = convert(torch.from_numpy(wide), torch.uint8)
    assert narrow.flatten().tolist() == [0, 0, 1, 1, 127, 254, 255, 255]
    again = convert(torch.tensor([0, 1, 255], dtype=torch.uint8).view(1, 1, 1, 3), torch.uint16)
    assert again.flatten().tolist() == [0, 257, 65535]


def test_large_images_change_their_dtype_in_strips(monkeypatch):
    monkeypatch.setattr(windows, "PIXELS_AT_ONCE", 100)
    image = pixels(70, 3, 3).permute(2, 0, 1)[None]
    wide = convert(image, torch.uint16)
    np.testing.assert_array_equal(wide, image.numpy().astype(np.uint16) * 257)
    assert wide.stride() == image.stride()


def test_a_copy_in_the_same_dtype_shares_no_memory():
    image = pixels(1, 3, 4, 5)
    copy = convert(image, torch.uint8)
    assert torch.equal(copy, image) and copy.data_ptr() != image.data_ptr()
