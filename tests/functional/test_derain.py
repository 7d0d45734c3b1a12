import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from jorder_preproc import derain
from jorder_preproc.functional import windows
from jorder_preproc.functional.derain import (
    DEVEIL_ORDER,
    GATE_WINDOW,
    Derained,
    region_gate,
)
from jorder_preproc.functional.deveil import estimate_light
from jorder_preproc.images import float_to_pixels, pixels_to_float
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder, StageOutput
from jorder_preproc.rain.synthesize import VISIBLE
from tests.networks import random_deveil_network, random_network


def random_image(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def pixels(*shape: int, dtype: type = np.uint8) -> torch.Tensor:
    """Integer (..., 3, H, W)."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype))


def derain_all(network: Jorder, image: torch.Tensor, **options) -> Derained:
    """With S and R."""
    return derain(network, image, with_streak_map=True, with_region_mask=True, **options)


def veil_options(deveiler, order) -> dict:
    """Options of `derain` for these steps."""
    if "deveil" not in order:
        return dict(order=order)
    return dict(order=order, deveil=True, deveil_model=deveiler)


def slow_gate(probability: np.ndarray) -> np.ndarray:
    radius = GATE_WINDOW // 2
    gate = np.empty_like(probability)
    for y, x in np.ndindex(probability.shape):
        rows = slice(max(y - radius, 0), y + radius + 1)
        columns = slice(max(x - radius, 0), x + radius + 1)
        gate[y, x] = probability[rows, columns].max()
    return gate


def run_padded(network: Jorder, image: torch.Tensor) -> list:
    """The last stage's output on an image padded by NumPy, that image, and its size."""
    sides = [max(16, size + -size % network.fold) for size in image.shape[1:]]
    pads = [(0, 0)] + [(0, side - size) for side, size in zip(sides, image.shape[1:], strict=True)]
    padded = np.pad(image.numpy(), pads, mode="reflect")
    with torch.no_grad():
        output = network(torch.from_numpy(padded)[None])[-1]
    height, width = image.shape[1:]
    return [part[0].numpy().astype(np.float64) for part in output[:3]] + [padded, height, width]


def test_region_gate_matches_pixel_loop():
    probability = (random_image(1, 1, 19, 22) ** 40 * 0.3).double()
    expected = slow_gate(probability[0, 0].numpy())
    actual = region_gate(probability)[0, 0].numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (5, 7), (16, 18), (17, 33)])
def test_derain_with_paper_labels_matches_loop(network, size):
    image = random_image(3, *size)
    background, streak_map, logits, padded, height, width = run_padded(network, image)
    rain = np.exp(logits[1]) / (np.exp(logits[0]) + np.exp(logits[1]))
    gate = slow_gate(rain)
    expected = np.clip(padded + gate * (background - padded), 0, 1)
    expected_streaks = np.clip(gate * streak_map, 0, 1)
    actual = derain_all(network, image)
    kept = (slice(None), slice(height), slice(width))
    np.testing.assert_allclose(actual.background, expected[kept], atol=2e-6)
    np.testing.assert_allclose(actual.streak_map, expected_streaks[kept], atol=2e-6)
    np.testing.assert_array_equal(actual.region_mask, (rain > 0.5)[None][kept])
    assert (actual.background - image).abs().max() > 0.01


def test_derain_with_release_labels_is_not_gated():
    network = random_network("jorder_e_practical", "release")
    image = random_image(3, 17, 21)
    background, streak_map, _, _, height, width = run_padded(network, image)
    actual = derain_all(network, image)
    kept = (slice(None), slice(height), slice(width))
    expected_streaks = np.clip(-streak_map, 0, 1)[kept]
    np.testing.assert_allclose(actual.background, np.clip(background, 0, 1)[kept], atol=2e-6)
    np.testing.assert_allclose(actual.streak_map, expected_streaks, atol=2e-6)
    expected_mask = (expected_streaks > VISIBLE).any(0, keepdims=True)
    np.testing.assert_array_equal(actual.region_mask, expected_mask)
    assert 0 < expected_mask.mean() < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_image_without_rain_comes_back_bit_identical(harmless_network, dtype):
    image = random_image(2, 3, 19, 23, dtype=dtype)
    result = derain_all(harmless_network, image)
    assert result.background.dtype == result.streak_map.dtype == result.region_mask.dtype == dtype
    assert torch.equal(result.background, image)
    assert not result.region_mask.any()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-6)]
)
def test_other_dtypes_give_the_float32_result(network, dtype, tolerance):
    image = random_image(3, 20, 22, dtype=dtype)
    expected = derain(network, image.float()).background
    actual = derain(network, image).background
    torch.testing.assert_close(actual.float(), expected, rtol=0, atol=tolerance)


def test_half_precision_network_runs_in_its_own_precision():
    image = random_image(3, 20, 22)
    expected = derain(random_network("jorder_e_lite"), image).background
    actual = derain(random_network("jorder_e_lite").bfloat16(), image).background
    assert actual.dtype == torch.float32
    assert 0 < (actual - expected).abs().mean() < 0.02


def test_batch_gives_what_single_images_give(network, monkeypatch):
    images = random_image(5, 3, 18, 21)
    single = [derain_all(network, image) for image in images]
    monkeypatch.setattr(windows, "PIXELS_AT_ONCE", 2 * 18 * 21)
    for result in (derain_all(network, images), derain_all(network, images, tile=240)):
        for index, part in enumerate(result[:3]):
            expected = torch.stack([one[index] for one in single])
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)


def test_large_batches_run_a_few_images_at_a_time(network, monkeypatch):
    seen = record_windows(network, monkeypatch)
    monkeypatch.setattr(windows, "PIXELS_AT_ONCE", 2 * 18 * 20)
    derain(network, random_image(5, 3, 18, 20))
    assert [shape[0] for shape in seen] == [2, 2, 1]


def test_empty_batch(network):
    result = derain_all(network, torch.empty(0, 3, 8, 9))
    assert [tuple(part.shape) for part in result[:3]] == [(0, 3, 8, 9), (0, 3, 8, 9), (0, 1, 8, 9)]


def test_long_thin_image_equals_its_middle():
    # far from the ends, a cut-out sees the same surroundings; a network with cues sees the whole
    network = random_network("jorder_e_practical")
    image = random_image(3, 3, 5000)
    whole = derain(network, image).background
    start, reach = 2000, 100
    cut = derain(network, image[:, :, start - reach : start + 50 + reach]).background
    expected = cut[:, :, reach : reach + 50]
    torch.testing.assert_close(whole[:, :, start : start + 50], expected, rtol=0, atol=1e-5)


def test_result_can_be_trained_on(network):
    layer = nn.Conv2d(3, 1, 3)
    layer(derain(network, random_image(1, 3, 16, 16)).background).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


def test_image_that_requires_gradients_is_detached(network):
    image = random_image(3, 16, 16)
    result = derain(network, image.clone().requires_grad_())
    assert not result.background.requires_grad
    torch.testing.assert_close(result.background, derain(network, image).background)


# tiling


@pytest.mark.parametrize(
    ("name", "tile", "size"),
    [
        ("jorder_minus", 60, (77, 83)),
        ("jorder", 141, (161, 5)),
        ("jorder_r", 255, (6, 263)),
        ("jorder_e", 263, (275, 7)),
        ("jorder_e_practical", 125, (9, 149)),
        ("jorder_e_lite", 256, (270, 290)),
    ],
)
def test_tiles_equal_whole_image(name, tile, size):
    network, image = random_network(name), random_image(3, *size)
    whole, tiled = derain_all(network, image), derain_all(network, image, tile=tile)
    torch.testing.assert_close(tiled.background, whole.background, rtol=0, atol=1e-4)
    torch.testing.assert_close(tiled.streak_map, whole.streak_map, rtol=0, atol=1e-4)
    assert (tiled.region_mask != whole.region_mask).float().mean() < 1e-3
    assert (whole.background - image).abs().max() > 0.01


def test_tiles_without_overlap_would_show():
    network, image = random_network("jorder_e_lite"), random_image(3, 200, 40)
    whole = derain(network, image).background
    network.receptive_field = 4
    tiled = derain(network, image, tile=90).background
    assert (tiled - whole).abs().max() > 1e-3


def test_tile_too_small(network):
    message = (
        "tile must be at least 240 px for jorder_e_lite, which sees 112 px to each side, "
        "got 239; use a larger tile, or None for the whole image"
    )
    with pytest.raises(ValueError, match=message):
        derain(network, random_image(3, 8, 8), tile=239)
    with pytest.raises(ValueError, match=message):
        derain(network, torch.zeros(3, 8, 8, dtype=torch.uint8), tile=239)


# out of memory


class SmallMachine(Jorder):
    """A network that runs out of memory on images of more than `limit` pixels."""

    def __init__(self, limit: int, error: Exception):
        super().__init__("jorder_e_lite")
        self.load_state_dict(random_network("jorder_e_lite").state_dict())
        self.limit, self.error, self.failures = limit, error, 0

    def forward(
        self,
        rainy: torch.Tensor,
        active_paths: int | None = None,
        cues: torch.Tensor | None = None,
    ) -> list[StageOutput]:
        if rainy.shape[0] * rainy.shape[2] * rainy.shape[3] > self.limit:
            self.failures += 1
            raise self.error
        return super().forward(rainy, active_paths, cues)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("could not create a primitive"),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
    Exception("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer"),
]


@pytest.mark.parametrize(
    "error",
    OUT_OF_MEMORY,
    ids=["cuda", "linux", "windows", "oneDNN", "C++", "Python", "ONNX Runtime"],
)
def test_out_of_memory_falls_back_to_tiles(network, error):
    small = SmallMachine(limit=460 * 16, error=error)
    image = random_image(2, 3, 520, 10)
    expected = derain(network, image)
    actual = derain(small, image)
    assert small.failures == 2  # both images, one image
    torch.testing.assert_close(actual.background, expected.background, rtol=0, atol=1e-4)


def test_out_of_memory_even_in_the_smallest_tile():
    small = SmallMachine(limit=0, error=OUT_OF_MEMORY[0])
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        derain(small, random_image(3, 600, 10))
    assert small.failures == 2  # whole, 448 px


def test_other_errors_of_the_network_are_passed_on():
    broken = SmallMachine(limit=0, error=RuntimeError("cuDNN failed"))
    with pytest.raises(RuntimeError, match="cuDNN failed"):
        derain(broken, random_image(3, 400, 10))
    assert broken.failures == 1


# what S means


class Stub(Jorder):
    """Takes light off a column of pixels and says that it rains there, one step after the other."""

    def __init__(self, takes: list[float], probability: float = 1.0, gated: bool = True):
        super().__init__("jorder_e_practical", gated=gated)
        self.takes, self.probability = iter(takes), probability

    def forward(
        self,
        rainy: torch.Tensor,
        active_paths: int | None = None,
        cues: torch.Tensor | None = None,
    ) -> list[StageOutput]:
        streaks = torch.zeros_like(rainy)
        streaks[..., 8] = next(self.takes)
        logits = rainy.new_zeros(len(rainy), 2, *rainy.shape[2:])
        logits[:, 1] = -50  # no rain
        logits[:, 1, :, 8] = 50 if self.probability == 1 else np.log(self.probability / 0.25)
        return [StageOutput(rainy - streaks, streaks, logits)]


@pytest.mark.parametrize(("gated", "taken"), [(True, 0.15), (False, 0.2)])
def test_streaks_are_what_the_gate_lets_through(gated, taken):
    # log 3 to 0: a probability of 3/4
    image = torch.full((3, 16, 16), 0.6)
    result = derain_all(Stub([0.2], probability=0.75, gated=gated), image)
    expected = torch.zeros_like(image)
    expected[..., 8] = taken
    torch.testing.assert_close(result.streak_map, expected)
    torch.testing.assert_close(result.background, image - expected)
    assert torch.equal(result.region_mask, (expected[:1] > 0).float())


class EvenVeil(DeveilNetwork):
    """Sees alpha = 1/2 everywhere."""

    def __init__(self):
        super().__init__("jorder_deveil_lite")

    def forward(self, overview: torch.Tensor) -> torch.Tensor:
        coefficients = overview.new_zeros(len(overview), 2, 1, 1, 1)
        coefficients[:, 0] = np.log(0.5)
        return coefficients


@pytest.mark.parametrize(
    ("order", "takes"),
    [
        # all of it is seen through the veil: alpha S
        (("derain", "deveil"), [0.1]),
        # half of it is; the rest comes out behind the veil
        (("derain", "deveil", "derain"), [0.05, 0.1]),
        (("deveil", "derain"), [0.2]),
    ],
    ids=str,
)
def test_streaks_behind_a_veil_are_those_of_equation_3(order, takes):
    """B = 0.4, S = 0.2 in one column, alpha = 1/2, A = 0.8: O = 0.6, and 0.7 in the column."""
    image = torch.full((3, 16, 16), 0.6)
    image[..., 8] = 0.7
    streaks = torch.zeros_like(image)
    streaks[..., 8] = 0.2
    options = veil_options(EvenVeil(), order)
    result = derain_all(Stub(takes), image, **options)
    torch.testing.assert_close(result.background, torch.full_like(image, 0.4), rtol=0, atol=1e-4)
    torch.testing.assert_close(result.streak_map, streaks, rtol=0, atol=1e-4)
    rainy = 0.5 * (result.background + result.streak_map * result.region_mask) + 0.5 * 0.8
    torch.testing.assert_close(rainy, image, rtol=0, atol=1e-4)
    found = derain_all(Stub(takes), float_to_pixels(image, torch.uint16), **options)
    actual = pixels_to_float(found.streak_map)
    torch.testing.assert_close(actual, streaks, rtol=0, atol=1e-4)


# the veil

ORDERS = [
    ("derain",),
    ("derain", "derain"),
    ("derain", "deveil"),
    ("deveil", "derain"),
    ("derain", "deveil", "derain"),
]
"""Of Fig. 10."""

LONGER_ORDERS = [("derain", "derain", "deveil"), ("deveil", "derain", "deveil")]


@pytest.fixture(scope="module")
def deveiler():
    return random_deveil_network()


def deveil_by_hand(deveiler, *views) -> tuple[torch.Tensor, torch.Tensor]:
    """The last of the views without the veil that all of them show, on average, and alpha."""
    maps, light = 0.0, 0.0
    for view in views:
        overview = adaptive_avg_pool2d(view, deveiler.overview_shape(view.shape[-2:]))
        own_light = estimate_light(overview)
        maps = maps + deveiler(overview / own_light)[:, :, 0].detach() / len(views)
        light = light + own_light / len(views)
    maps = interpolate(maps, size=views[-1].shape[-2:], mode="bilinear")
    alpha = (maps[:, :1] + maps[:, 1:] * views[-1] / light).exp()
    return ((views[-1] - (1 - alpha) * light) / alpha).clamp(0, 1), alpha


def steps_by_hand(network, deveiler, image, order) -> Derained:
    """One step after the other, each with the function for it alone."""
    streak_map, region_mask = torch.zeros_like(image), torch.zeros_like(image[..., :1, :, :])
    veiled = image  # the first image that shows the veil
    for step in order:
        if step == "deveil":
            views = [image] if image is veiled else [veiled, image]
            image, alpha = deveil_by_hand(deveiler, *views)
            veiled, streak_map = image, (streak_map / alpha).clamp(max=1)
        else:
            image, streaks, mask, _ = derain_all(network, image)
            streak_map = (streak_map + streaks).clamp(max=1)
            region_mask = torch.maximum(region_mask, mask)
    return Derained(image, streak_map, region_mask, None)


def assert_same(actual: Derained, expected: Derained, tolerance: float = 1e-5) -> None:
    for ours, theirs in zip(actual[:2], expected[:2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    # a probability next to a half may fall to either side
    assert (actual.region_mask != expected.region_mask).float().mean() < 1e-3


@pytest.mark.parametrize("order", [*ORDERS, *LONGER_ORDERS], ids="-".join)
def test_steps_are_taken_in_their_order(network, deveiler, order):
    options = veil_options(deveiler, order)
    images = random_image(2, 3, 30, 41)
    expected = steps_by_hand(network, deveiler, images, order)
    assert_same(derain_all(network, images, **options), expected, 1e-4)
    single = derain_all(network, images[1], **options | dict(order=list(order)))
    assert_same(single, Derained(*(part[1] for part in expected[:3]), None), 1e-4)
    for other in set(ORDERS) - {order}:
        result = steps_by_hand(network, deveiler, images, other)
        assert (result.background - expected.background).abs().mean() > 0.01


def test_the_order_of_the_paper_is_the_default(network, deveiler):
    image = random_image(3, 20, 26)
    assert ORDERS[-1] == DEVEIL_ORDER
    always = dict(deveil=True, deveil_model=deveiler)
    expected = derain_all(network, image, order=ORDERS[-1], **always)
    assert_same(derain_all(network, image, **always), expected, 0)
    assert_same(derain_all(network, image, order=["derain"]), derain_all(network, image), 0)


def clear_and_veiled(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """To the random deveil network dark images are clear, and bright ones are not."""
    return random_image(*shape) * 0.12, random_image(*shape, seed=1)


def test_auto_leaves_clear_images_as_they_are(network, deveiler):
    clear, veiled = clear_and_veiled(3, 24, 30)
    always, auto = (dict(deveil=choice, deveil_model=deveiler) for choice in (True, "auto"))
    plain = derain_all(network, clear)
    assert_same(derain_all(network, clear, **auto), plain, 0)
    assert (derain(network, clear, **always).background - plain.background).abs().max() > 0.1
    expected = derain_all(network, veiled, **always)
    assert_same(derain_all(network, veiled, **auto), expected, 0)
    assert (expected.background - derain(network, veiled).background).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_auto_decides_for_each_image_of_a_batch(network, deveiler, dtype):
    clear, veiled = (images.to(dtype) for images in clear_and_veiled(2, 3, 24, 30))
    batch = torch.stack([veiled[0], clear[0], clear[1], veiled[1]])
    always, auto = (dict(deveil=choice, deveil_model=deveiler) for choice in (True, "auto"))
    single = [derain_all(network, image, **auto)[:3] for image in batch]
    expected = Derained(*(torch.stack(parts) for parts in zip(*single, strict=True)), None)
    result = derain_all(network, batch, **auto)
    assert result.background.dtype == dtype
    assert_same(result, expected, 2e-3 if dtype == torch.float16 else 1e-5)
    # and not all the same way
    always = derain(network, batch, **always).background
    never = derain(network, batch).background
    for index, other in enumerate((never, always, always, never)):
        assert (result.background[index] - other[index]).abs().max() > 0.05


def test_empty_batch_behind_a_veil(network, deveiler):
    for deveil in (True, "auto"):
        options = dict(deveil=deveil, deveil_model=deveiler)
        shapes = [
            tuple(p.shape) for p in derain_all(network, torch.empty(0, 3, 8, 9), **options)[:3]
        ]
        assert shapes == [(0, 3, 8, 9), (0, 3, 8, 9), (0, 1, 8, 9)]


def test_result_of_several_steps_can_be_trained_on(network, deveiler):
    layer = nn.Conv2d(3, 1, 3)
    options = dict(deveil="auto", deveil_model=deveiler)
    background = derain(network, random_image(1, 3, 16, 16), **options).background
    layer(background).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("order", ORDERS[2:], ids="-".join)
def test_the_image_given_is_not_changed(network, deveiler, order):
    for image in (random_image(3, 20, 26), pixels(3, 20, 26)):
        before = image.clone()
        derain_all(network, image, **veil_options(deveiler, order))
        assert torch.equal(image, before)


def test_tiles_with_deveil_equal_the_whole_image(network, deveiler):
    image = random_image(3, 270, 25)
    options = dict(deveil=True, deveil_model=deveiler)
    whole = derain_all(network, image, **options)
    assert_same(derain_all(network, image, tile=256, **options), whole, 1e-4)


# what is rounded to 16 bits between two steps does not show in 8
@pytest.mark.parametrize(("dtype", "peak", "most"), [(np.uint8, 255, 0.6), (np.uint16, 65535, 4)])
@pytest.mark.parametrize("order", [*ORDERS, ("deveil",)], ids="-".join)
def test_integer_images_take_the_steps_of_floats(network, deveiler, order, dtype, peak, most):
    image = pixels(3, 263, 31, dtype=dtype)
    options = veil_options(deveiler, order) | dict(tile=250)
    expected = derain_all(network, image.double() / peak, **options)
    actual = derain_all(network, image, **options)
    assert {part.dtype for part in actual[:3]} == {image.dtype}
    for ours, theirs in zip(actual[:2], expected[:2], strict=True):
        assert (ours.double() - theirs * peak).abs().max() <= most
    different = actual.region_mask.double() != expected.region_mask * peak
    assert different.double().mean() < 1e-3


def test_integer_images_with_auto(network, deveiler):
    always, auto = (dict(deveil=choice, deveil_model=deveiler) for choice in (True, "auto"))
    images = [float_to_pixels(image, torch.uint8) for image in clear_and_veiled(3, 24, 30)]
    for image, ours, theirs in zip(images, ({}, always), (always, {}), strict=True):
        found = derain(network, image, **auto).background.int()
        # what was rounded to 16 bits first may be rounded the other way
        assert (found - derain(network, image, **ours).background.int()).abs().max() <= 1
        assert (found - derain(network, image, **theirs).background.int()).abs().max() > 10
        batch = torch.stack([images[0], image, images[1]])
        together = derain(network, batch, **auto).background[1].int()
        assert (together - found).abs().max() <= 1


def test_only_what_is_asked_for_is_returned(network, deveiler):
    for image in (pixels(3, 20, 22), random_image(3, 20, 22)):
        for options in ({}, dict(deveil=True, deveil_model=deveiler)):
            plain, every = derain(network, image, **options), derain_all(network, image, **options)
            assert plain.streak_map is None and plain.region_mask is None
            assert torch.equal(plain.background, every.background)
            streaks = derain(network, image, with_streak_map=True, **options)
            assert torch.equal(streaks.streak_map, every.streak_map)
            assert streaks.region_mask is None
            mask = derain(network, image, with_region_mask=True, **options)
            assert torch.equal(mask.region_mask, every.region_mask) and mask.streak_map is None


def test_streaks_of_a_step_that_ran_out_of_memory_count_once(network, deveiler):
    small = SmallMachine(limit=460 * 16, error=OUT_OF_MEMORY[0])
    image = random_image(3, 520, 10)
    options = dict(deveil=True, deveil_model=deveiler)
    expected = derain_all(network, image, **options)
    actual = derain_all(small, image, **options)
    assert small.failures == 2  # once in each step
    assert_same(actual, expected, 1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"order": ["wash"]},
            r"order must be steps out of derain, deveil, got \['wash'\]; for example \('de",
        ),
        ({"order": []}, r"steps out of derain, deveil, got \[\]"),
        ({"order": "derain"}, "steps out of derain, deveil, got 'derain'"),
        ({"order": DEVEIL_ORDER}, r"'derain'\) needs deveil=True or 'auto', got deveil=False"),
        ({"deveil": True}, r"deveil=True needs deveil_model=load_deveil_model\(\), got none"),
        ({"deveil": "auto"}, r"deveil='auto' needs deveil_model=load_deveil_model\(\), got none"),
        ({"deveil_model": ...}, "deveil_model is for deveil=True or 'auto', got deveil=False"),
        ({"deveil": "on"}, "deveil must be False, True or 'auto', got 'on'"),
        (
            {"order": ["derain"], "deveil": True, "deveil_model": ...},
            r"\('derain',\) has no deveil step, got deveil=True; leave",
        ),
        (
            {"order": ["deveil", "derain"], "deveil": "auto", "deveil_model": ...},
            r"an order that begins with derain, got \('deveil', 'derain'\)",
        ),
    ],
)
def test_orders_refused(network, deveiler, options, message):
    if "deveil_model" in options:
        options = options | {"deveil_model": deveiler}
    with pytest.raises(ValueError, match=message):
        derain(network, random_image(3, 8, 8), **options)


# integer images


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("size", [(261, 31), (1, 1)])
def test_integer_images_are_floats_rounded(network, dtype, peak, size):
    image = pixels(3, *size, dtype=dtype)
    expected = derain_all(network, image.float() / peak, tile=250)
    actual = derain_all(network, image, tile=250)
    for ours, theirs in zip(actual[:3], expected[:3], strict=True):
        rounded = np.round(theirs.numpy() * np.float32(peak)).astype(dtype)
        np.testing.assert_array_equal(ours, rounded)
        assert ours.dtype == image.dtype


def record_windows(network: Jorder, monkeypatch) -> list[tuple[int, ...]]:
    seen = []
    forward = Jorder.forward

    def recording(self, rainy, **options):
        seen.append(tuple(rainy.shape))
        return forward(self, rainy, **options)

    monkeypatch.setattr(Jorder, "forward", recording)
    return seen


def test_no_more_than_a_tile_is_float_at_a_time(network, monkeypatch):
    seen = record_windows(network, monkeypatch)
    derain(network, torch.zeros(3, 40, 500, dtype=torch.uint8), tile=256)
    assert len(seen) == 16 and {shape[0] for shape in seen} == {1}
    assert max(shape[3] for shape in seen) <= 256


def test_memory_of_arrays_is_used_as_it_lies(network):
    image = pixels(3, 20, 22)
    expected = derain(network, image).background
    array = image.permute(1, 2, 0).contiguous()
    result = derain(network, array.permute(2, 0, 1)).background
    assert torch.equal(result, expected)
    assert result.permute(1, 2, 0).is_contiguous()


# bad input


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((3, 4, 4)), TypeError, "must be a float tensor, got ndarray; use .*JorderDerain"),
        (
            torch.zeros(3, 4, 4, dtype=torch.int64),
            TypeError,
            r"must be uint8, uint16 or float in \[0, 1\], got torch.int64; divide 8-bit",
        ),
        (torch.zeros(1, 4, 4), ValueError, r"got \(1, 4, 4\); repeat a grey channel"),
        (torch.zeros(4, 4, 4), ValueError, r"got \(4, 4, 4\); .* drop an alpha channel"),
        (torch.zeros(4, 4), ValueError, r"\(3, H, W\) or \(N, 3, H, W\) .* got \(4, 4\)"),
        (torch.zeros(1, 1, 3, 4, 4), ValueError, r"got \(1, 1, 3, 4, 4\)"),
        (torch.zeros(1, 4, 4).byte(), ValueError, r"got \(1, 4, 4\); repeat a grey channel"),
        (torch.zeros(3, 0, 4), ValueError, r"H, W >= 1, got \(3, 0, 4\)"),
        (torch.full((3, 4, 4), 255.0), ValueError, "from 255 to 255; divide 8-bit pixels by 255"),
        (torch.full((3, 4, 4), -0.1), ValueError, "from -0.1 to -0.1; .* or clamp"),
        (torch.full((3, 4, 4), float("nan")), ValueError, "finite .* from nan to nan"),
        (torch.full((3, 4, 4), float("inf")), ValueError, "from inf to inf"),
    ],
)
def test_derain_refuses(network, image, error, message):
    with pytest.raises(error, match=message):
        derain(network, image)
