import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from evaluation.downstream import cache as cache_module
from evaluation.downstream.cache import CachedJorderDerain
from jorder_preproc.errors import UserError
from jorder_preproc.int8 import measure_ranges, save_ranges
from jorder_preproc.models import load_model, save_weights
from jorder_preproc.openmmlab import JorderDerain
from tests.networks import network_that_sees, random_deveil_network, ship

IMAGE = np.ascontiguousarray(data.chelsea()[100:148, 100:164, ::-1])


def derain(folder, weights, image=IMAGE, **deveil) -> np.ndarray:
    transform = CachedJorderDerain(str(folder), weights=weights, **deveil)
    return transform({"img": image.copy()})["img"]


def test_warm_cold_and_uncached_are_the_same(tmp_path, weights):
    expected = JorderDerain(weights=weights)({"img": IMAGE.copy()})["img"]
    assert not np.array_equal(expected, IMAGE)
    np.testing.assert_array_equal(derain(tmp_path, weights), expected)
    (path,) = tmp_path.rglob("*.png")
    np.testing.assert_array_equal(derain(tmp_path, weights), expected)
    # it is the file that is used
    cv2.imwrite(str(path), IMAGE)
    np.testing.assert_array_equal(derain(tmp_path, weights), IMAGE)


def test_other_pixels_and_other_weights_are_not_found(tmp_path, weights):
    derain(tmp_path, weights)
    other = IMAGE.copy()
    other[0, 0, 0] ^= 1
    derain(tmp_path, weights, other)
    derain(tmp_path, weights, IMAGE.reshape(64, 48, 3))  # the same bytes in another shape
    assert len(list(tmp_path.rglob("*.png"))) == 3
    derain(tmp_path, None)
    assert len(list(tmp_path.rglob("*.png"))) == 4


def test_other_ranges_of_int8_are_not_found(tmp_path):
    file = tmp_path / "w.safetensors"
    save_weights(load_model("jorder_e_lite"), file)
    network = load_model("jorder_e_lite", file)
    for photo in (data.chelsea(), data.coffee()):
        image = torch.from_numpy(photo[:64, :64]).permute(2, 0, 1)[None] / 255
        save_ranges(network, measure_ranges(network, [image]))
        derain(tmp_path / "cache", file, backend="onnxruntime", precision="int8")
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 2


def test_what_other_code_derained_is_not_found(tmp_path, weights, monkeypatch):
    derain(tmp_path, weights)
    monkeypatch.setattr(cache_module, "package_sha256", lambda: "of other source")
    derain(tmp_path, weights)
    assert len(list(tmp_path.rglob("*.png"))) == 2


@pytest.mark.parametrize("deveil", [True, "auto"])
def test_deveiled_images_are_kept_too(tmp_path, weights, deveil_weights, deveil):
    arguments = dict(deveil=deveil, deveil_weights=deveil_weights)
    expected = JorderDerain(weights=weights, **arguments)({"img": IMAGE.copy()})["img"]
    for _ in range(2):
        np.testing.assert_array_equal(derain(tmp_path, weights, **arguments), expected)
    (path,) = tmp_path.rglob("*.png")
    cv2.imwrite(str(path), IMAGE)
    np.testing.assert_array_equal(derain(tmp_path, weights, **arguments), IMAGE)


def test_dry_images_are_kept_apart(tmp_path):
    path = tmp_path / "sees.safetensors"
    save_weights(network_that_sees(2.0), path)  # never
    cache, arguments = tmp_path / "cache", dict(model="jorder_e_lite")
    for number, dry in enumerate(("leave", "derain"), 1):
        for _ in range(2):
            found = derain(cache, str(path), dry=dry, **arguments)
            assert np.array_equal(found, IMAGE) is (dry == "leave")
        assert len(list(cache.rglob("*.png"))) == number


def test_other_settings_of_deveil_are_not_found(tmp_path, weights, deveil_weights):
    other = tmp_path / "other.safetensors"
    network = random_deveil_network()
    with torch.no_grad():
        network.head[-1].bias += 0.1
    save_weights(network, other)
    cache, settings = tmp_path / "cache", [dict()]
    for file in (deveil_weights, other):
        settings += [dict(deveil=deveil, deveil_weights=file) for deveil in (True, "auto")]
    for number, setting in enumerate(settings, 1):
        expected = JorderDerain(weights=weights, **setting)({"img": IMAGE.copy()})["img"]
        np.testing.assert_array_equal(derain(cache, weights, **setting), expected)
        assert len(list(cache.rglob("*.png"))) == number


def test_shipped_deveil_weights_count_only_where_they_are_used(
    tmp_path, weights, deveil_weights, monkeypatch
):
    cache, package = tmp_path / "cache", tmp_path / "package"
    package.mkdir()
    shipped = package / "jorder_deveil_lite.safetensors"
    shipped.write_bytes(Path(deveil_weights).read_bytes())
    ship(monkeypatch, package)
    for deveil, kept in ((False, 1), (True, 2)):
        derain(cache, weights, deveil=deveil)
        assert len(list(cache.rglob("*.png"))) == kept
    # a file by path is as good as the same one in the package
    derain(cache, weights, deveil=True, deveil_weights=deveil_weights)
    assert len(list(cache.rglob("*.png"))) == 2
    network = random_deveil_network()
    with torch.no_grad():
        network.head[-1].bias += 0.1
    save_weights(network, shipped)
    ship(monkeypatch, package)
    for deveil, kept in ((False, 2), (True, 3)):
        derain(cache, weights, deveil=deveil)
        assert len(list(cache.rglob("*.png"))) == kept


def test_a_damaged_file_is_replaced(tmp_path, weights):
    expected = derain(tmp_path, weights)
    (path,) = tmp_path.rglob("*.png")
    path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(derain(tmp_path, weights), expected)
    np.testing.assert_array_equal(cv2.imread(str(path)), expected)


def test_processes_that_race(tmp_path, weights):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(derain, [(tmp_path, weights)] * 4, chunksize=1)
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    assert len(list(tmp_path.rglob("*"))) == 2  # a folder with one file


@pytest.mark.parametrize("image", [IMAGE.astype(np.float32), IMAGE[..., :1], IMAGE[..., 0]])
def test_pixels_that_a_png_would_not_keep(tmp_path, weights, image):
    with pytest.raises(UserError, match="without to_float32"):
        derain(tmp_path, weights, image)
    assert not list(tmp_path.iterdir())
