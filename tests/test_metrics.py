import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torchmetrics_psnr,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure as torchmetrics_ssim,
)

from jorder_preproc.metrics import MAX_PSNR_DB, luminance, psnr, ssim


@pytest.mark.parametrize(
    ("rgb", "y"),
    # MATLAB: rgb2ycbcr([0 0 0; 1 1 1; 1 0 0; 0 1 0; 0 0 1]) * 255, first column
    [((0, 0, 0), 16.0), ((1, 1, 1), 235.0), ((1, 0, 0), 81.481), ((0, 1, 0), 144.553),
     ((0, 0, 1), 40.966)],
)  # fmt: skip
def test_luminance_is_matlabs(rgb, y):
    image = torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1)
    assert luminance(image).item() == pytest.approx(y, abs=1e-3)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    reference = torch.from_numpy(rng.random((2, 3, 40, 52))).float()
    noise = torch.from_numpy(rng.normal(0, 0.1, reference.shape)).float()
    return (reference + noise).clamp(0, 1), reference


def test_luminance_is_scikit_images(pair):
    image, _ = pair
    expected = rgb2ycbcr(image[0].permute(1, 2, 0).double().numpy())[..., 0]
    np.testing.assert_allclose(luminance(image)[0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("one", "other", "error"),
    # differences of luminance on the scale of 0-255, by hand
    [
        ((0, 0, 0), (1, 1, 1), 219.0),
        ((1, 0, 0), (0, 0, 1), 40.515),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0), 12.483),
        ((1, 1, 1), (1, 1, 1 - 51 / 255), 4.9932),
    ],
)
def test_psnr_and_ssim_of_plain_images(one, other, error):
    colours = [torch.tensor(c, dtype=torch.float64).view(3, 1, 1) for c in (one, other)]
    images = [colour.expand(3, 12, 14) for colour in colours]
    assert psnr(*images).item() == pytest.approx(20 * np.log10(255 / error), abs=1e-9)
    # no variance: what is left is (2ab + c1) / (a^2 + b^2 + c1)
    a = 16 + 65.481 * one[0] + 128.553 * one[1] + 24.966 * one[2]
    b = 16 + 65.481 * other[0] + 128.553 * other[1] + 24.966 * other[2]
    expected = (2 * a * b + 2.55**2) / (a**2 + b**2 + 2.55**2)
    assert ssim(*images).item() == pytest.approx(expected, abs=1e-9)


def test_psnr_of_one_wrong_pixel():
    reference = torch.zeros(3, 11, 20, dtype=torch.float64)
    image = reference.clone()
    image[1, 4, 7] = 1  # 128.553 in one of 220 pixels
    expected = 10 * np.log10(255**2 * 220 / 128.553**2)
    assert psnr(image, reference).item() == pytest.approx(expected, abs=1e-9)


def test_psnr_and_ssim_agree_with_torchmetrics(pair):
    image, reference = pair
    for n in range(2):
        x, y = (luminance(each)[n][None, None] for each in (image, reference))
        expected = torchmetrics_psnr(x, y, data_range=255.0)
        assert psnr(image, reference)[n].item() == pytest.approx(expected.item(), abs=1e-4)
        options = {"sigma": 1.5, "data_range": 255.0, "return_full_image": True}
        _, full = torchmetrics_ssim(x, y, gaussian_kernel=True, **options)
        expected = full[..., 5:-5, 5:-5].mean()
        assert ssim(image, reference)[n].item() == pytest.approx(expected.item(), abs=1e-6)


def test_psnr_agrees_with_scikit_image(pair):
    image, reference = pair
    for n in range(2):
        expected = peak_signal_noise_ratio(
            luminance(reference)[n].numpy(), luminance(image)[n].numpy(), data_range=255
        )
        assert psnr(image, reference)[n].item() == pytest.approx(expected, abs=1e-9)


def test_ssim_agrees_with_scikit_image(pair):
    image, reference = pair
    for n in range(2):
        _, full = structural_similarity(
            luminance(reference)[n].numpy(), luminance(image)[n].numpy(), data_range=255,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
        )  # fmt: skip
        expected = full[5:-5, 5:-5].mean()
        assert ssim(image, reference)[n].item() == pytest.approx(expected, abs=1e-9)


def test_equal_images_are_perfect(pair):
    _, reference = pair
    assert psnr(reference, reference).tolist() == [MAX_PSNR_DB] * 2
    # and those that differ less than any two images of 8 bits do
    assert psnr(reference + 1e-9, reference).tolist() == [MAX_PSNR_DB] * 2
    torch.testing.assert_close(ssim(reference, reference), torch.ones(2, dtype=torch.float64))


def test_bad_shapes_are_named(pair):
    image, reference = pair
    with pytest.raises(ValueError, match="one shape"):
        psnr(image, reference[:1])
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, H, W\)"):
        psnr(image[:, :1], reference[:, :1])
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(image[..., :8], reference[..., :8])
