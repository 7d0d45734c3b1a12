"""The pipeline transforms against the torchvision ones."""

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from typer.testing import CliRunner

import jorder_preproc
from jorder_preproc.cli import app
from jorder_preproc.models import load_model, save_weights
from jorder_preproc.openmmlab import JorderDerain, SynthesizeRain
from tests.openmmlab.stack import DERAIN, derained, photo


@pytest.fixture(scope="module")
def bgr() -> np.ndarray:
    return photo(33, 46)


def change(transform, image):
    """Checks that nothing but the pixels changes."""
    before = image.copy()
    others = {"img_path": "a.jpg", "gt_bboxes": np.ones((1, 4)), "gt_seg_map": np.ones((3, 3))}
    results = {"img": image, **others}
    returned = transform(results)
    assert returned.keys() == results.keys()
    assert all(returned[key] is value for key, value in others.items())
    np.testing.assert_array_equal(image, before)
    assert returned["img"].shape == image.shape and returned["img"].dtype == image.dtype
    assert returned["img"].flags.c_contiguous
    return returned["img"]


def test_derain_equals_the_torchvision_transform(bgr, weights):
    image = Image.fromarray(bgr[..., ::-1].copy())
    expected = np.array(jorder_preproc.JorderDerain("jorder_e_lite", weights)(image))
    actual = change(JorderDerain("jorder_e_lite", weights), bgr)
    np.testing.assert_array_equal(actual[..., ::-1], expected)
    assert (actual != bgr).mean() > 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derain_of_floats(bgr, weights, dtype):
    """`LoadImageFromFile(to_float32=True)`, and images resized as floats."""
    image = (bgr * 0.999).astype(dtype)
    rgb = image[..., ::-1].copy()
    scaled = jorder_preproc.JorderDerain("jorder_e_lite", weights)(rgb / dtype(255))
    actual = change(JorderDerain("jorder_e_lite", weights), image)
    np.testing.assert_array_equal(actual[..., ::-1], scaled * dtype(255))
    assert np.abs(actual - image).mean() > 5


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_that_do_not_change_are_bit_identical(bgr, harmless_network, tmp_path, dtype):
    save_weights(harmless_network, tmp_path / "harmless.safetensors")
    image = bgr if dtype == np.uint8 else (bgr * 0.7371).astype(dtype)
    actual = change(JorderDerain(weights=tmp_path / "harmless.safetensors"), image)
    np.testing.assert_array_equal(actual, image)


def test_derain_of_grey(bgr, weights):
    grey = bgr[..., 0].copy()
    expected = np.array(jorder_preproc.JorderDerain(weights=weights)(Image.fromarray(grey)))
    np.testing.assert_array_equal(change(JorderDerain(weights=weights), grey), expected)
    with_axis = change(JorderDerain(weights=weights), grey[..., None])
    np.testing.assert_array_equal(with_axis[..., 0], expected)


def test_tiles_and_a_ready_network(bgr, weights):
    network = load_model("jorder_e_lite", weights)
    whole = change(JorderDerain(network), bgr)
    np.testing.assert_array_equal(whole, change(JorderDerain(weights=weights), bgr))
    with pytest.raises(ValueError, match="tile must be at least"):
        change(JorderDerain(network, tile=8), bgr)


@pytest.mark.parametrize("deveil", [True, "auto"])
@pytest.mark.parametrize("brightness", [1.0, 0.3])
def test_deveil_equals_the_torchvision_transform(bgr, weights, deveil_weights, deveil, brightness):
    image = (bgr * brightness).astype(np.uint8)
    arguments = dict(deveil=deveil, deveil_weights=deveil_weights)
    actual = change(JorderDerain(weights=weights, **arguments), image)
    np.testing.assert_array_equal(actual, derained(image, weights, **arguments))
    # the veil is there, or nobody looked for it, or the image is too dark for one
    without = change(JorderDerain(weights=weights), image)
    assert np.array_equal(actual, without) is (deveil == "auto" and brightness < 1)


@pytest.mark.parametrize("preset", ["light", "storm"])
def test_rain_equals_the_torchvision_transform(bgr, preset):
    image = Image.fromarray(bgr[..., ::-1].copy())
    # `change` calls the file a.jpg
    expected = np.array(jorder_preproc.SynthesizeRain(preset, seed=3)(image, image_id="a.jpg"))
    actual = change(SynthesizeRain(preset, seed=3), bgr)
    np.testing.assert_array_equal(actual[..., ::-1], expected)
    floats = change(SynthesizeRain(preset, seed=3), bgr.astype(np.float32))
    np.testing.assert_array_equal(np.round(floats), actual)
    assert not np.array_equal(actual, change(SynthesizeRain(preset, seed=4), bgr))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rain_leaves_dry_pixels_bit_identical(bgr, dtype):
    image = (bgr * 0.7371).astype(dtype)
    rainy = change(SynthesizeRain("severity_1"), image)
    background = torch.from_numpy(image[..., ::-1] / dtype(255)).permute(2, 0, 1)
    sample = jorder_preproc.synthesize_rain(background, "severity_1", image_id="a.jpg")
    dry = sample.region_mask[0].numpy() == 0
    assert 0.01 < dry.mean() < 0.99
    np.testing.assert_array_equal(rainy[dry], image[dry])


def rainy_file(path, **arguments) -> np.ndarray:
    """A file through a pipeline, as RGB."""
    steps = [dict(type="LoadImageFromFile"), dict(type="jorder_preproc.SynthesizeRain")]
    steps[1] |= arguments
    return Compose(steps)({"img_path": str(path)})["img"][..., ::-1]


def test_rain_on_an_image_is_one_in_every_harness_and_place(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "data", tmp_path / "another/disk/copy"
    for root in (here, elsewhere):
        (root / "images/val").mkdir(parents=True)
        Image.fromarray(photo(33, 46)).save(root / "images/val/1.png")
    file = here / "images/val/1.png"
    expected = rainy_file(file, data_root=str(here))
    moved = rainy_file(elsewhere / "images/val/1.png", data_root=str(elsewhere) + "/")
    np.testing.assert_array_equal(moved, expected)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(rainy_file("data/images/val/1.png", data_root="data"), expected)

    named = dict(image_id="images/val/1.png")
    torchvision = np.array(jorder_preproc.SynthesizeRain()(Image.open(file), **named))
    np.testing.assert_array_equal(torchvision, expected)

    result = CliRunner().invoke(app, ["rain", "data", "-o", "out"])
    assert result.exit_code == 0, result.output
    written = np.array(Image.open("out/images/val/1.png"))
    np.testing.assert_array_equal(written, expected)

    # nothing says where the data lie: the file name
    rgb = photo(33, 46)
    expected = jorder_preproc.rain_image(rgb, image_id="1.png")
    np.testing.assert_array_equal(rainy_file(file), expected)
    np.testing.assert_array_equal(rainy_file(file, data_root=str(elsewhere)), expected)


@pytest.mark.parametrize("results", [{}, {"img_path": None}])
def test_rain_on_an_image_without_a_path(bgr, results):
    rainy = SynthesizeRain()({"img": bgr, **results})["img"]
    expected = jorder_preproc.rain_image(bgr[..., ::-1].copy())
    np.testing.assert_array_equal(rainy[..., ::-1], expected)


def test_errors_come_early():
    with pytest.raises(ValueError, match="unknown model 'jorder_x'"):
        JorderDerain("jorder_x")
    with pytest.raises(FileNotFoundError, match=r"weights must be a safetensors file"):
        JorderDerain(weights="missing.safetensors")
    with pytest.raises(ValueError, match="deveil must be False, True or 'auto', got 'on'"):
        JorderDerain(deveil="on")
    with pytest.raises(ValueError, match="deveil_weights are for deveil=True or 'auto'"):
        JorderDerain(deveil_weights="missing.safetensors")
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors is neither"):
        JorderDerain(deveil=True, deveil_weights="missing.safetensors")
    with pytest.raises(ValueError, match="seed must be >= 0"):
        SynthesizeRain(seed=-1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'wieghts'"):
        Compose([dict(type=DERAIN, wieghts="x")])


def test_errors_of_images(bgr, weights):
    with pytest.raises(ValueError, match="holds weights of jorder_e_lite, which is no deveil"):
        JorderDerain(weights=weights, deveil=True, deveil_weights=weights)({"img": bgr})
    transform = JorderDerain(weights=weights)
    with pytest.raises(ValueError, match=r"in 0 to 255, got values from -.*behind the image load"):
        transform({"img": (bgr.astype(np.float32) - 120) / 60})
    with pytest.raises(ValueError, match="must be finite"):
        transform({"img": np.full((4, 4, 3), np.nan)})
    with pytest.raises(TypeError, match="must be uint8 or float in 0 to 255, got torch.uint16"):
        JorderDerain()({"img": np.zeros((20, 20, 3), np.uint16)})
    with pytest.raises(TypeError, match="one NumPy array, got list"):
        transform({"img": [bgr, bgr]})
    with pytest.raises(ValueError, match="drop an alpha channel"):
        transform({"img": np.zeros((4, 4, 4), np.uint8)})


class OneImage(Dataset):
    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.transform({"img": photo(20, 20)})


def test_cuda_in_a_forked_worker(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    loader = DataLoader(
        OneImage(JorderDerain(device="cuda:0")), num_workers=1, multiprocessing_context="fork"
    )
    message = r"cuda:0 in forked DataLoader worker 0.*DerainHook\(where='batch'\)"
    with pytest.raises(RuntimeError, match=message):
        next(iter(loader))


def test_labels_masks_and_boxes_are_bit_identical(det, seg, weights):
    from mmdet.registry import DATASETS as DET_DATASETS
    from mmdet.utils import register_all_modules as register_det
    from mmseg.registry import DATASETS as SEG_DATASETS
    from mmseg.utils import register_all_modules as register_seg

    step = dict(type=DERAIN, weights=weights)
    for cfg, registry, register, keys in (
        (det, DET_DATASETS, register_det, ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags")),
        (seg, SEG_DATASETS, register_seg, ("gt_seg_map",)),
    ):
        register()
        plain = cfg.test_dataloader.dataset
        plain.pipeline = plain.pipeline[:-1]  # before it is packed
        before = registry.build(plain)
        plain.pipeline = [plain.pipeline[0], step, *plain.pipeline[1:]]
        after = registry.build(plain)
        for one, other in zip(before, after, strict=True):
            assert one.keys() == other.keys()
            assert not np.array_equal(one["img"], other["img"])
            for key in keys:
                first, second = (
                    np.asarray(getattr(r[key], "tensor", r[key])) for r in (one, other)
                )
                assert first.dtype == second.dtype and len(first)
                np.testing.assert_array_equal(first, second)
