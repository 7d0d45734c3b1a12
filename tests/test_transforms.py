import copy
import io
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageSequence
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import jorder_preproc
from jorder_preproc import (
    JorderDerain,
    SynthesizeRain,
    derain,
    derain_bgr,
    derain_image,
    load_model,
    rain_image,
    synthesize_rain,
)
from jorder_preproc.rain import image_name
from tests.networks import random_deveil_network, random_network, ship

HEIGHT, WIDTH = 17, 22


def pixels(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype in (np.uint8, np.uint16):
        return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)
    return rng.random(shape).astype(dtype)


def photo(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth uint8 RGB (H, W, 3)."""
    small = Image.fromarray(pixels(4, 5, 3) // 2)
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def expected_background(network, rgb: np.ndarray) -> np.ndarray:
    """`derain` on uint8 (H, W, 3), rounded, by way of NumPy."""
    image = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)
    background = derain(network, image).background
    return np.round(background.permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def expected_rain(rgb: np.ndarray, seed: int = 0, image_id: str | None = None) -> np.ndarray:
    image = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)
    rainy = synthesize_rain(image, "heavy", seed, image_id).rainy
    return np.round(rainy.permute(1, 2, 0).numpy() * 255).astype(np.uint8)


# every type, changed


def test_pil_rgb_equals_derain(network):
    rgb = pixels(HEIGHT, WIDTH, 3)
    result = JorderDerain(network)(Image.fromarray(rgb))
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.array(result), expected_background(network, rgb))
    assert (np.array(result) != rgb).mean() > 0.2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_pil_opacity_is_kept(network, mode):
    image = Image.fromarray(pixels(HEIGHT, WIDTH, 4)).convert(mode)
    result = JorderDerain(network)(image)
    opaque = image.convert("RGB" if mode == "RGBA" else "L")
    assert result.mode == mode
    np.testing.assert_array_equal(np.array(result.getchannel("A")), np.array(image.getchannel("A")))
    expected = np.array(JorderDerain(network)(opaque))
    np.testing.assert_array_equal(np.array(result)[..., :-1].squeeze(), expected)
    assert (expected != np.array(opaque)).any()


def test_grey_is_the_mean_of_three_equal_channels(network):
    grey = pixels(HEIGHT, WIDTH)
    values = torch.from_numpy(grey.astype(np.float32) / 255).expand(3, -1, -1)
    mean = derain(network, values).background.double().mean(0).numpy() * 255
    for result in (
        np.array(JorderDerain(network)(Image.fromarray(grey))),
        JorderDerain(network)(grey),
        JorderDerain(network)(grey[..., None])[..., 0],
        JorderDerain(network)(torch.from_numpy(grey)[None])[0].numpy(),
    ):
        assert result.dtype == np.uint8
        np.testing.assert_allclose(result, mean, atol=0.5 + 1e-3)
    assert np.abs(mean - grey).max() > 2


def test_pil_16_bit(network):
    grey = pixels(HEIGHT, WIDTH, dtype=np.uint16)
    result = JorderDerain(network)(Image.fromarray(grey))
    assert result.mode == "I;16"
    values = torch.from_numpy(grey.astype(np.float32) / 65535).expand(3, -1, -1)
    mean = derain(network, values).background.double().mean(0).numpy() * 65535
    np.testing.assert_allclose(np.array(result), mean, atol=0.6)
    assert len(np.unique(np.array(result) % 256)) > 100  # the low byte is alive
    swapped = Image.frombytes("I;16B", (WIDTH, HEIGHT), grey.astype(">u2").tobytes())
    np.testing.assert_array_equal(np.array(JorderDerain(network)(swapped)), np.array(result))


def test_pil_info_is_kept(network):
    image = Image.fromarray(photo())
    image.info["icc_profile"] = b"profile"
    assert JorderDerain(network)(image).info == {"icc_profile": b"profile"}


@pytest.mark.parametrize("wrap", [lambda t: t, tv_tensors.Image])
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32, torch.float64]
)
def test_tensors_keep_type_and_dtype(network, wrap, dtype):
    rgb = torch.from_numpy(pixels(HEIGHT, WIDTH, 3)).permute(2, 0, 1)
    peak = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    image = wrap((rgb.double() / 255 * peak).to(dtype))
    result = JorderDerain(network)(image)
    assert type(result) is type(image) and result.dtype == dtype
    expected = derain(network, image.double() / peak).background
    tolerance = max(0.5 / peak, 1e-3 if dtype == torch.float16 else 1e-5) + 1e-6
    tolerance = 0.5 / 255 + 1e-6 if dtype == torch.uint8 else tolerance
    actual = torch.Tensor(result.double() / peak).double()
    torch.testing.assert_close(actual, expected.double(), rtol=0, atol=tolerance)


def test_batches_and_videos_are_derained_frame_by_frame(network):
    transform = JorderDerain(network)
    frames = torch.from_numpy(pixels(2, 3, 3, HEIGHT, WIDTH))
    expected = torch.stack([torch.stack([transform(f) for f in clip]) for clip in frames])
    for given, wanted in (
        (frames[0], expected[0]),
        (tv_tensors.Video(frames[0]), expected[0]),
        (tv_tensors.Video(frames), expected),
    ):
        result = transform(given)
        assert type(result) is type(given)
        assert (torch.Tensor(result) - torch.Tensor(wanted)).abs().max() <= 1
    array = transform(frames[0].permute(0, 2, 3, 1).numpy())
    assert isinstance(array, np.ndarray) and array.shape == (3, HEIGHT, WIDTH, 3)
    assert np.abs(array.astype(int) - expected[0].permute(0, 2, 3, 1).numpy()).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64, ">u2"])
def test_arrays_keep_dtype(network, dtype):
    image = pixels(HEIGHT, WIDTH, 3, dtype=np.uint16 if dtype == ">u2" else dtype).astype(dtype)
    result = JorderDerain(network)(image)
    assert type(result) is np.ndarray and result.dtype == image.dtype
    peak = {"u1": 255, "u2": 65535}.get(image.dtype.str[1:], 1)
    values = torch.from_numpy(image.astype(np.float64) / peak).permute(2, 0, 1)
    expected = derain(network, values).background.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result / float(peak), expected, atol=0.5 / max(peak, 255))
    assert np.abs(expected - image / float(peak)).max() > 0.1


def test_arrays_may_be_read_only_or_flipped(network):
    image = pixels(HEIGHT, WIDTH, 3)
    expected = JorderDerain(network)(image.copy())
    flipped = image[:, ::-1].copy()[:, ::-1]
    image.flags.writeable = False
    np.testing.assert_array_equal(JorderDerain(network)(image), expected)
    np.testing.assert_array_equal(JorderDerain(network)(flipped), expected)


# every type, unchanged


UNCHANGED = [
    *(
        pytest.param(Image.fromarray(pixels(HEIGHT, WIDTH, 4)).convert(mode), id=mode)
        for mode in ("L", "LA", "RGB", "RGBA")
    ),
    pytest.param(Image.fromarray(pixels(HEIGHT, WIDTH, dtype=np.uint16)), id="I;16"),
    pytest.param(pixels(HEIGHT, WIDTH), id="grey array"),
    pytest.param(pixels(HEIGHT, WIDTH, dtype=np.float32), id="grey float array"),
    pytest.param(pixels(2, HEIGHT, WIDTH, 3, dtype=np.float64), id="arrays"),
    pytest.param(torch.from_numpy(pixels(2, 1, HEIGHT, WIDTH, dtype=np.float16)), id="tensor"),
    pytest.param(tv_tensors.Image(torch.from_numpy(pixels(3, 5, 7, dtype=np.uint16))), id="tv"),
]


@pytest.mark.parametrize("image", UNCHANGED)
def test_images_without_rain_come_back_bit_identical(harmless_network, image):
    result = JorderDerain(harmless_network)(image)
    assert type(result) is type(image) or isinstance(image, Image.Image)
    if isinstance(image, Image.Image):
        assert (result.mode, result.size) == (image.mode, image.size)
    assert np.asarray(result).dtype == np.asarray(image).dtype
    np.testing.assert_array_equal(np.asarray(result), np.asarray(image))


# samples


def test_all_but_the_image_is_the_same_object(network):
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(HEIGHT, WIDTH))
    mask = tv_tensors.Mask(torch.ones(1, HEIGHT, WIDTH, dtype=torch.uint8))
    sample = {
        "labels": torch.tensor([1, 2]),
        "image": Image.fromarray(photo()),
        "target": [boxes, mask, 7, "name", None, torch.rand(3, 8, 8), pixels(8, 8, 3)],
    }
    before = copy.deepcopy(sample)
    result = JorderDerain(network)(sample)
    assert result["labels"] is sample["labels"]
    assert all(a is b for a, b in zip(result["target"], sample["target"], strict=True))
    for now, then in zip(sample["target"][-2:], before["target"][-2:], strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(result["image"], expected_background(network, photo()))


@pytest.mark.parametrize("plain", [torch.from_numpy, lambda array: array.transpose(1, 2, 0)])
def test_only_the_first_plain_image_is_one(network, plain):
    first, second = plain(pixels(3, 16, 18)), plain(pixels(3, 16, 18, seed=1))
    label = torch.tensor(3)
    out_first, out_second, out_label = JorderDerain(network)(first, second, label)
    assert out_second is second and out_label is label
    np.testing.assert_array_equal(out_first, JorderDerain(network)(first))
    assert not np.array_equal(out_first, first)


def test_every_explicit_image_is_transformed(network):
    transform = JorderDerain(network)
    left, right = Image.fromarray(photo()), tv_tensors.Image(torch.from_numpy(pixels(3, 8, 8)))
    out_left, out_right = transform((left, right))
    np.testing.assert_array_equal(np.array(out_left), np.array(transform(left)))
    assert torch.equal(out_right, transform(right)) and not torch.equal(out_right, right)


@pytest.mark.parametrize("compose", [v2.Compose, torchvision.transforms.Compose])
def test_compose(network, compose):
    pipeline = compose([JorderDerain(network), v2.Resize(8), v2.PILToTensor()])
    expected = v2.PILToTensor()(v2.Resize(8)(derain_image(network, Image.fromarray(photo()))))
    assert torch.equal(pipeline(Image.fromarray(photo())), expected)


@pytest.mark.parametrize("transform", [JorderDerain(), SynthesizeRain()])
@pytest.mark.parametrize("sample", ["photo.jpg", (1, "a"), []])
def test_sample_without_image(transform, sample):
    with pytest.raises(TypeError, match=r"found no image in the sample: .* PIL.Image.open"):
        transform(sample)


# the network of a transform


def test_named_network_is_read_at_the_first_image(network, weights):
    transform = JorderDerain("jorder_e_lite", weights)
    assert "derain" not in transform._networks
    result = transform(Image.fromarray(photo()))
    np.testing.assert_array_equal(np.array(result), expected_background(network, photo()))
    loaded = transform._networks["derain"]
    transform(Image.fromarray(photo()))
    assert transform._networks["derain"] is loaded


def test_named_network_is_not_pickled(weights):
    transform = JorderDerain("jorder_e_lite", weights, tile=300)
    expected = transform(photo())
    pickled = pickle.dumps(transform)
    assert len(pickled) < 10_000
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again(photo()), expected)
    assert (again.model, again.tile, again.weights) == ("jorder_e_lite", 300, str(weights))


def test_given_network_is_pickled(network):
    again = pickle.loads(pickle.dumps(JorderDerain(network)))
    np.testing.assert_array_equal(again(photo()), expected_background(network, photo()))


def test_network_is_no_submodule(network):
    transform = JorderDerain(network)
    host = nn.Sequential(transform, nn.Identity())
    assert not list(host.parameters()) and not host.state_dict()
    host.double()
    assert next(network.parameters()).dtype == torch.float32


def test_tile_reaches_derain(network):
    with pytest.raises(ValueError, match="tile must be at least 240 px"):
        JorderDerain(network, tile=100)(photo())


def test_repr_names_what_was_given(weights):
    transform = JorderDerain("jorder_e_lite", weights, device="cpu", tile=200)
    assert repr(transform) == (
        f"JorderDerain(model=jorder_e_lite, weights={weights}, device=cpu, tile=200, deveil=False, "
        "dry=leave, backend=torch, precision=float32)"
    )
    assert repr(JorderDerain(deveil="auto", deveil_weights=weights)) == (
        f"JorderDerain(model=jorder_e_lite, deveil=auto, deveil_weights={weights}, dry=leave, "
        "backend=torch, precision=float32)"
    )
    assert repr(SynthesizeRain("light", 3)) == "SynthesizeRain(preset=light, seed=3)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"model": "jorder_x"},
            ValueError,
            "unknown model 'jorder_x'; choose from .*jorder_e_lite",
        ),
        ({"model": 3}, TypeError, "model must be a name or a Jorder network, got int"),
        ({"weights": "no/such"}, FileNotFoundError, "no/such is neither; check the path"),
        ({"model": nn.Identity(), "device": "cpu"}, ValueError, "for named networks, .* ready one"),
        ({"model": nn.Identity(), "weights": "x"}, ValueError, "weights and device are for named"),
        ({"dry": "keep"}, ValueError, "dry must be one of leave, derain, got 'keep'"),
        ({"deveil": "on"}, ValueError, "deveil must be False, True or 'auto', got 'on'"),
        ({"deveil": None}, ValueError, "deveil must be False, True or 'auto', got None"),
        ({"deveil_weights": "x"}, ValueError, "for deveil=True or 'auto', got deveil=False"),
        (
            {"deveil": True, "deveil_weights": "no/such"},
            FileNotFoundError,
            "no/such is neither; check the path",
        ),
    ],
)
def test_derain_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        JorderDerain(**arguments)


# the veil


def rounded(background: torch.Tensor) -> np.ndarray:
    """uint8 (..., H, W, 3)."""
    return np.round(background.movedim(-3, -1).numpy() * 255).astype(np.uint8)


def expected_deveiled(network, rgb: np.ndarray, auto: bool = False) -> np.ndarray:
    """`derain` with the random deveil network on uint8 (..., H, W, 3), rounded."""
    image = torch.from_numpy(rgb.astype(np.float32) / 255).movedim(-1, -3)
    options = dict(deveil="auto" if auto else True, deveil_model=random_deveil_network())
    return rounded(derain(network, image, **options).background)


@pytest.mark.parametrize("deveil", [True, "auto"])
def test_deveil_equals_derain_with_deveil(network, deveil_weights, deveil):
    transform = JorderDerain(network, deveil=deveil, deveil_weights=deveil_weights)
    # to the random deveil network the second is clear
    bright = pixels(HEIGHT, WIDTH, 3)
    for rgb, clear in ((bright, False), (bright // 8, True)):
        expected = expected_deveiled(network, rgb, deveil == "auto")
        np.testing.assert_array_equal(np.array(transform(Image.fromarray(rgb))), expected)
        np.testing.assert_array_equal(transform(rgb), expected)
        changed = np.abs(expected.astype(int) - expected_background(network, rgb)).max() > 5
        assert changed == (deveil is True or not clear)
    frames = bright, bright // 8
    for frame, rgb in zip(transform(np.stack(frames)), frames, strict=True):
        # a float of a batch may be rounded the other way
        assert np.abs(frame.astype(int) - transform(rgb)).max() <= 1


def test_shipped_deveil_weights_are_the_default(network, deveil_weights, tmp_path, monkeypatch):
    shutil.copy(deveil_weights, tmp_path / "jorder_deveil_lite.safetensors")
    ship(monkeypatch, tmp_path)
    rgb = pixels(HEIGHT, WIDTH, 3)
    result = JorderDerain(network, deveil=True)(rgb)
    np.testing.assert_array_equal(result, expected_deveiled(network, rgb))


def test_deveil_network_is_read_at_the_first_image_and_not_pickled(network, deveil_weights):
    transform = JorderDerain(network, deveil=True, deveil_weights=deveil_weights)
    assert "deveil" not in transform._networks
    before = len(pickle.dumps(transform))
    expected = transform(photo())
    loaded = transform._networks["deveil"]
    transform(photo())
    assert transform._networks["deveil"] is loaded
    assert len(pickle.dumps(transform)) == before
    again = pickle.loads(pickle.dumps(transform))
    assert (again.deveil, again.deveil_weights) == (True, str(deveil_weights))
    np.testing.assert_array_equal(again(photo()), expected)


def test_no_deveil_network_is_read_where_none_is_asked_for(network):
    transform = JorderDerain(network)
    transform(photo())
    assert "deveil" not in transform._networks


def test_deveil_network_is_no_submodule(network, deveil_weights):
    transform = JorderDerain(network, deveil=True, deveil_weights=deveil_weights)
    transform(photo())
    assert not list(transform.parameters()) and not transform.state_dict()


def test_weights_of_a_derainer_for_the_veil(network, weights):
    transform = JorderDerain(network, deveil=True, deveil_weights=weights)
    with pytest.raises(ValueError, match="weights of jorder_e_lite, which is no deveil network"):
        transform(photo())


# workers


class Photos(Dataset):
    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 4

    def __getitem__(self, index):
        image = Image.fromarray(pixels(16, 18, 3, seed=index))
        return np.array(self.transform(image)), index


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_give_what_the_main_process_gives(network, weights, start, workers):
    named, given = JorderDerain("jorder_e_lite", weights), JorderDerain(network)
    dataset = Photos(v2.Compose([SynthesizeRain(seed=1), named, given]))
    expected = np.stack([dataset[index][0] for index in range(4)])
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, multiprocessing_context=start)
    actual = np.concatenate([batch.numpy() for batch, _ in loader])
    # one thread or several may round differently
    assert np.abs(actual.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_other_runtimes_work_in_workers_forked_after_their_use(backend):
    dataset = Photos(JorderDerain(backend=backend))
    expected = [dataset[index][0] for index in range(4)]
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    for (actual, _), same in zip(loader, expected, strict=True):
        assert np.abs(actual.numpy().astype(int) - same).max() <= 1


def test_cuda_in_a_forked_worker(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    loader = DataLoader(
        Photos(JorderDerain(device="cuda:0")), num_workers=1, multiprocessing_context="fork"
    )
    message = (
        r"should run on cuda:0 in forked DataLoader worker 0, where CUDA cannot start; "
        r"use device='cpu', or .*'spawn', or derain whole batches .*DerainHook"
    )
    with pytest.raises(RuntimeError, match=message):
        next(iter(loader))


# rain


def test_rain_is_the_same_for_every_type_of_one_image():
    rgb = photo(40, 50)
    expected = expected_rain(rgb, seed=2)
    transform = SynthesizeRain("heavy", seed=2)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    np.testing.assert_array_equal(np.array(transform(Image.fromarray(rgb))), expected)
    np.testing.assert_array_equal(transform(rgb), expected)
    np.testing.assert_array_equal(transform(tensor).permute(1, 2, 0), expected)
    video = transform(tv_tensors.Video(torch.stack([tensor.flip(2), tensor])))
    np.testing.assert_array_equal(video[1].permute(1, 2, 0), expected)
    for dtype in (torch.float32, torch.float64, torch.uint16):
        peak = 65535 if dtype == torch.uint16 else 1
        rainy = transform((tensor.double() / 255 * peak).to(dtype)).double() / peak * 255
        np.testing.assert_allclose(rainy.permute(1, 2, 0), expected, atol=0.51)
    assert (expected != rgb).mean() > 0.2


def test_rain_differs_by_seed_and_image():
    rgb = photo(40, 50)
    again, other_seed = rain_image(rgb, "heavy", 0), rain_image(rgb, "heavy", 1)
    np.testing.assert_array_equal(again, rain_image(rgb, "heavy", 0))
    assert not np.array_equal(again, other_seed)
    frames = np.stack([rgb, rgb[:, ::-1], rgb])
    rainy = rain_image(frames, "heavy", 0)
    np.testing.assert_array_equal(rainy[0], rainy[2])
    np.testing.assert_array_equal(rainy[1], expected_rain(np.ascontiguousarray(rgb[:, ::-1])))
    assert not np.array_equal(rainy[0], rainy[1][:, ::-1])


def test_named_rain():
    rgb = photo(40, 50)
    expected = expected_rain(rgb, image_id="val/a.jpg")
    transform = SynthesizeRain()
    np.testing.assert_array_equal(transform(rgb, image_id="val/a.jpg"), expected)
    np.testing.assert_array_equal(rain_image(rgb, image_id="val/a.jpg"), expected)
    # a name in the call goes before one in the sample, and is not kept for the next
    sample = {"image": rgb, "image_id": "val/b.jpg"}
    np.testing.assert_array_equal(transform(sample, image_id="val/a.jpg")["image"], expected)
    np.testing.assert_array_equal(transform(rgb), expected_rain(rgb))
    assert (expected != expected_rain(rgb)).any()


@pytest.mark.parametrize("image_id", ["val/a.jpg", 7, torch.tensor([7]), torch.tensor(7)])
def test_rain_named_in_the_sample_of_a_compose(image_id):
    image = Image.fromarray(photo(40, 50))
    name = image_id if isinstance(image_id, str) else 7
    expected = expected_rain(np.array(image), image_id=name)
    transform = v2.Compose([SynthesizeRain(), v2.RandomHorizontalFlip(p=0)])
    flat = transform({"image": image, "image_id": image_id, "label": 3})
    np.testing.assert_array_equal(np.array(flat["image"]), expected)
    assert flat["image_id"] is image_id and flat["label"] == 3
    # as the data sets of detection have it
    rainy, target = transform(image, {"boxes": [], "image_id": image_id})
    np.testing.assert_array_equal(np.array(rainy), expected)
    assert target["image_id"] is image_id


def test_a_sample_of_several_names():
    rgb = photo(40, 50)
    twice = [{"image": rgb, "image_id": "a"}, {"id": 5, "image_id": "a"}, {"image_id": None}]
    rainy = SynthesizeRain()(twice)[0]["image"]
    np.testing.assert_array_equal(rainy, expected_rain(rgb, image_id="a"))
    with pytest.raises(ValueError, match="sample of one image, got the ids 'a', 'b'; .* one by"):
        SynthesizeRain()([{"image": rgb, "image_id": "a"}, {"image_id": "b"}])
    with pytest.raises(TypeError, match="text or a whole number, got list"):
        SynthesizeRain()({"image": rgb, "image_id": ["a", "b"]})


def test_named_rain_in_a_loader_of_files(tmp_path):
    """The way for `ImageFolder`, whose transforms see no paths."""
    for number, folder in enumerate(("cat", "dog")):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels(24, 30, 3, seed=number)).save(tmp_path / folder / "1.png")

    def load(path: str) -> Image.Image:
        image = Image.open(path).convert("RGB")
        return rain_image(image, "heavy", seed=0, image_id=image_name(path, tmp_path))

    for image, target in ImageFolder(tmp_path, loader=load):
        name = f"{('cat', 'dog')[target]}/1.png"
        expected = expected_rain(pixels(24, 30, 3, seed=target), image_id=name)
        np.testing.assert_array_equal(np.array(image), expected)


def test_rain_on_named_frames():
    frames = np.stack([photo(40, 50)] * 3)
    rainy = rain_image(frames, image_id="clip.mp4")
    for number, name in enumerate(("clip.mp4", "clip.mp4#1", "clip.mp4#2")):
        np.testing.assert_array_equal(rainy[number], expected_rain(frames[0], image_id=name))
    np.testing.assert_array_equal(rain_image(frames[:1], image_id="clip.mp4")[0], rainy[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50)])
def test_rain_leaves_dry_pixels_bit_identical(dtype, shape):
    image = pixels(*shape, dtype=dtype)
    rainy = rain_image(image, "severity_1", image_id="a")
    peak = 1 if image.dtype.kind == "f" else np.iinfo(dtype).max
    rgb = image if len(shape) == 3 else np.repeat(image[..., None], 3, 2)
    background = torch.from_numpy(rgb.astype(np.float32) / peak).permute(2, 0, 1)
    region = synthesize_rain(background, "severity_1", image_id="a").region_mask[0].numpy() > 0
    assert 0.01 < region.mean() < 0.99
    np.testing.assert_array_equal(rainy[~region], image[~region])
    assert (rainy[region] != image[region]).any()


def test_rain_on_grey_is_that_on_equal_channels():
    grey = photo(40, 50)[..., 1]
    rgb = np.repeat(grey[..., None], 3, 2)
    mean = expected_rain(rgb).mean(-1)
    for result in (rain_image(grey), np.array(rain_image(Image.fromarray(grey)))):
        np.testing.assert_allclose(result, mean, atol=1)


def test_rain_keeps_masks_and_opacity():
    image = Image.fromarray(np.dstack([photo(40, 50), pixels(40, 50)]))
    mask = tv_tensors.Mask(torch.ones(1, 40, 50, dtype=torch.uint8))
    rainy, out_mask = SynthesizeRain()(image, mask)
    assert out_mask is mask
    np.testing.assert_array_equal(np.array(rainy)[..., 3], np.array(image)[..., 3])
    np.testing.assert_array_equal(np.array(rainy)[..., :3], expected_rain(photo(40, 50)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"preset": "snow"}, "unknown preset 'snow'"), ({"seed": -1}, "seed must be >= 0, got -1")],
)
def test_rain_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SynthesizeRain(**arguments)


# bad and odd input


@pytest.mark.parametrize("size", [(1, 1), (3, 5000)])
def test_extreme_sizes(network, size):
    rgb = pixels(*size, 3)
    result = JorderDerain(network)(Image.fromarray(rgb))
    np.testing.assert_array_equal(np.array(result), expected_background(network, rgb))
    np.testing.assert_array_equal(rain_image(rgb), expected_rain(rgb))


def animated_gif(frames: int) -> Image.Image:
    images = [Image.fromarray(pixels(8, 8, 3, seed=k)) for k in range(frames)]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:])
    return Image.open(file)


def test_animation_is_refused_and_its_frames_are_not(network):
    animation = animated_gif(3)
    message = re.escape("[frame.copy() for frame in PIL.ImageSequence.Iterator(image)]")
    for transform in (JorderDerain(network), SynthesizeRain()):
        with pytest.raises(ValueError, match=f"one image, got a GIF file .* {message}"):
            transform(animation)
    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]
    derained = [JorderDerain(network)(frame) for frame in frames]
    assert not np.array_equal(np.array(derained[0]), np.array(derained[1]))


def test_camera_file_with_preview_is_its_first_image(network):
    file = io.BytesIO()
    main, preview = Image.fromarray(photo(32, 32)), Image.fromarray(photo(8, 8))
    main.save(file, "MPO", save_all=True, append_images=[preview])
    image = Image.open(file)
    assert image.format == "MPO" and image.n_frames == 2
    rgb = np.array(image)
    np.testing.assert_array_equal(JorderDerain(network)(image), expected_background(network, rgb))


def test_exif_orientation_is_kept_and_not_applied(network):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    rgb, file = photo(32, 48), io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG", exif=exif)
    result = JorderDerain(network)(Image.open(file))
    assert result.getexif()[0x0112] == 6
    np.testing.assert_array_equal(np.array(result), expected_background(network, rgb))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (Image.new("YCbCr", (4, 4)), TypeError, r"must have mode L, .*got YCbCr; .*convert"),
        (animated_gif(1), TypeError, r"got P; use image.convert\('RGB'\)"),
        (Image.new("1", (4, 4)), TypeError, "got 1; use image.convert"),
        (Image.new("CMYK", (4, 4)), TypeError, "got CMYK; use image.convert"),
        (Image.new("F", (4, 4)), TypeError, "got F; scale its values to 8 or 16 bits"),
        (Image.new("RGB", (0, 4)), ValueError, r"must be .*\(.*3, 4, 0\)"),
        (torch.zeros(4, 8, 8), ValueError, r"\(..., C, H, W\) with C = 1 or 3, got \(4, 8, 8\)"),
        (torch.zeros(8, 8), ValueError, r"got \(8, 8\); move channels to the front"),
        (
            torch.zeros(3, 8, 8, dtype=torch.int64),
            TypeError,
            "uint8, uint16 or float in .* got torch.int64",
        ),
        (torch.zeros(3, 8, 8, dtype=torch.bool), TypeError, "got torch.bool; convert"),
        (np.zeros((3, 8, 8)), ValueError, r"\(..., H, W, C\) .* got \(3, 8, 8\); .* to the end"),
        (np.zeros((8, 8, 4), np.uint8), ValueError, "drop an alpha channel"),
        (np.zeros(8), ValueError, r"got \(8,\)"),
        (np.zeros((8, 8, 3), np.int32), TypeError, "got int32; .* image.astype"),
        (
            np.zeros((8, 8, 3), np.uint32),
            TypeError,
            "uint8, uint16 or float in .* got torch.uint32",
        ),
        (np.full((8, 8, 3), 255.0), ValueError, "from 255 to 255; divide 8-bit pixels by 255"),
        (np.full((8, 8, 3), np.nan), ValueError, "finite and in .* nan"),
        (torch.full((3, 8, 8), -1.0), ValueError, "from -1 to -1"),
    ],
)
def test_images_refused(network, image, error, message):
    for transform in (JorderDerain(network), SynthesizeRain()):
        with pytest.raises(error, match=message):
            transform(image)


@pytest.mark.parametrize("function", [lambda i: derain_image(None, i), rain_image])
def test_functions_refuse_what_is_no_image(function):
    with pytest.raises(TypeError, match="a tensor or a NumPy array, got str; open files with"):
        function("photo.jpg")


# the package


def test_package_exports(weights):
    assert jorder_preproc.derain is jorder_preproc.functional.derain
    assert set(jorder_preproc.__all__) <= set(dir(jorder_preproc))
    assert load_model("jorder_e_lite", weights).name == "jorder_e_lite"
    assert random_network("jorder").name in jorder_preproc.list_models()
    project = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    assert f'version = "{jorder_preproc.__version__}"' in project


def test_bgr_is_the_image_with_its_channels_turned(network):
    rgb = pixels(HEIGHT, WIDTH, 3)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    expected = expected_background(network, rgb)[..., ::-1]
    actual = derain_bgr(network, bgr)
    np.testing.assert_array_equal(actual, expected)
    assert actual.flags.c_contiguous


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4, 3)), TypeError, "must be a uint8 array, got float64"),
        ([0], TypeError, "must be a uint8 array, got list"),
        (np.zeros((4, 4), np.uint8), ValueError, r"must be BGR \(H, W, 3\), got \(4, 4\)"),
    ],
)
def test_bgr_refuses(network, image, error, message):
    with pytest.raises(error, match=message):
        derain_bgr(network, image)
