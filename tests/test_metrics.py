import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from jorder_preproc.metrics import luminance, psnr, ssim


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
    assert psnr(reference, reference).isinf().all()
    torch.testing.assert_close(ssim(reference, reference), torch.ones(2, dtype=torch.float64))


def test_bad_shapes_are_named(pair):
    image, reference = pair
    with pytest.raises(ValueError, match="one shape"):
        psnr(image, reference[:1])
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, H, W\)"):
        psnr(image[:, :1], reference[:, :1])
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(image[..., :8], reference[..., :8])
