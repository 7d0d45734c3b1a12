import math

import numpy as np
import pytest
import torch

from jorder_preproc.canvas import FloatCanvas, PixelCanvas

SIZES = [((7, 10), (3, 4)), ((8, 6), (8, 6)), ((5, 300), (1, 7)), ((3, 2), (4, 6))]


def pixels(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def slow_overview(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means of (C, H, W) over cells that cover the picture; each takes the pixels it touches."""
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
    values = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(dtype)
    overview = FloatCanvas(values).overview(*cells)
    assert overview.dtype == torch.float32
    expected = [slow_overview(image, *cells) for image in values.double().numpy()]
    np.testing.assert_allclose(overview, expected, atol=1e-6)


@pytest.mark.parametrize(("size", "cells"), SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_overview_of_pixels_is_that_of_floats(size, cells, dtype):
    image = pixels(*size, 3, dtype=dtype)
    values = (image / np.iinfo(dtype).max).transpose(2, 0, 1)
    overview = PixelCanvas(image, dtype).overview(*cells)
    assert overview.dtype == torch.float32
    np.testing.assert_allclose(overview[0], slow_overview(values, *cells), atol=1e-6)
    floats = FloatCanvas(torch.from_numpy(values)[None]).overview(*cells)
    torch.testing.assert_close(overview, floats, rtol=0, atol=1e-6)


def test_floats_are_read_and_written_where_they_are():
    values = torch.rand(3, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    canvas = FloatCanvas(values.clone())
    rows, columns = np.array([4, 0, 0]), np.array([7, 2])
    read = canvas.read(slice(1, 3), rows, columns)
    for n, c, y, x in np.ndindex(2, 2, 3, 2):
        assert read[n, c, y, x] == values[1 + n, c, rows[y], columns[x]]
    blank = canvas.blank(2)
    assert blank.shape == canvas.shape == (3, 6, 8)
    blank.write(slice(1, 3), slice(2, 5), slice(1, 3), values[1:, :, 2:5, 1:3])
    expected = np.zeros((3, 2, 6, 8), np.float32)
    expected[1:3, :, 2:5, 1:3] = values[1:3, :, 2:5, 1:3]
    np.testing.assert_array_equal(blank.values, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_read_and_written_where_they_are(dtype):
    image = pixels(6, 8, 3, dtype=dtype)
    canvas = PixelCanvas(image.copy(), dtype)
    rows, columns = np.array([4, 0, 0]), np.array([7, 2])
    read = canvas.read(slice(None), rows, columns)
    assert read.shape == (1, 3, 3, 2) and read.dtype == torch.float32
    for c, y, x in np.ndindex(3, 3, 2):
        expected = image[rows[y], columns[x], c] / np.iinfo(dtype).max
        assert float(read[0, c, y, x]) == pytest.approx(expected, abs=1e-6)
    # every step comes back as it was
    blank = canvas.blank(3)
    whole = canvas.read(slice(None), np.arange(6), np.arange(8))
    blank.write(slice(None), slice(2, 5), slice(1, 3), whole[..., 2:5, 1:3])
    expected = np.zeros_like(image)
    expected[2:5, 1:3] = image[2:5, 1:3]
    np.testing.assert_array_equal(blank.pixels, expected)
    assert blank.pixels.dtype == dtype


def test_pixels_are_rounded_and_cut_off_at_white():
    canvas = PixelCanvas(np.zeros((1, 4, 1), np.uint8), np.uint8)
    values = torch.tensor([0.49, 0.51, 254.6, 300.0]) / 255
    canvas.write(slice(None), slice(0, 1), slice(0, 4), values.view(1, 1, 1, 4))
    assert canvas.pixels.ravel().tolist() == [0, 1, 255, 255]


def test_floats_are_cut_off_at_white():
    canvas = FloatCanvas(torch.zeros(1, 1, 1, 2))
    canvas.write(slice(None), slice(0, 1), slice(0, 2), torch.tensor([0.5, 1.5]).view(1, 1, 1, 2))
    assert canvas.values.flatten().tolist() == [0.5, 1]


def test_added_floats_are_their_sum_cut_off_at_white():
    canvas = FloatCanvas(torch.tensor([0.25, 0.75]).view(1, 1, 1, 2))
    canvas.add(FloatCanvas(torch.tensor([0.5, 0.5]).view(1, 1, 1, 2)))
    assert canvas.values.flatten().tolist() == [0.75, 1]


@pytest.mark.parametrize(
    ("dtype", "ours", "other", "expected"),
    [
        (np.uint8, [0, 1, 200, 255, 255], [0, 2, 56, 0, 255], [0, 3, 255, 255, 255]),
        (np.uint16, [7, 65535, 65000], [8, 1, 535], [15, 65535, 65535]),
    ],
)
def test_added_pixels_stop_at_white(dtype, ours, other, expected):
    canvas = PixelCanvas(np.array(ours, dtype).reshape(1, -1, 1), dtype)
    canvas.add(PixelCanvas(np.array(other, dtype).reshape(1, -1, 1), dtype))
    assert canvas.pixels.ravel().tolist() == expected
    assert canvas.pixels.dtype == dtype


def test_steps_of_another_dtype_are_the_nearest():
    # a step of 8 bits is 257 of 16; 128 and 129 lie on either side of half of it
    wide = np.array([0, 128, 129, 257, 32767, 65406, 65407, 65535], np.uint16)
    narrow = PixelCanvas(wide.reshape(1, -1, 1), np.uint16).as_type(np.uint8)
    assert narrow.ravel().tolist() == [0, 0, 1, 1, 127, 254, 255, 255]
    assert narrow.dtype == np.uint8 and narrow.shape == (1, 8, 1)
    again = PixelCanvas(np.array([[[0], [1], [255]]], np.uint8), np.uint8).as_type(np.uint16)
    assert again.ravel().tolist() == [0, 257, 65535]


def test_large_pictures_change_their_dtype_in_parts():
    image = pixels(700, 3, 3)
    wide = PixelCanvas(image, np.uint8).as_type(np.uint16)
    np.testing.assert_array_equal(wide, image.astype(np.uint16) * 257)


def test_pixels_of_the_same_dtype_are_not_copied():
    image = pixels(2, 3, 3)
    assert PixelCanvas(image, np.uint16).as_type(np.uint8) is image


def test_blank_pixels_have_the_working_dtype():
    blank = PixelCanvas(pixels(2, 5, 3), np.uint16).blank(1)
    assert blank.pixels.dtype == np.uint16 and blank.shape == (1, 2, 5)
    assert blank.channels == 1 and not blank.pixels.any()
