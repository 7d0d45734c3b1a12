"""8-bit convolutions: their arithmetic, their ranges, and what they and bfloat16 cost."""

import itertools
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import skimage.data
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import conv2d, pixel_unshuffle
from typer.testing import CliRunner

from jorder_preproc import derain, load_model, synthesize_rain
from jorder_preproc.backends import use_backend
from jorder_preproc.cli import app
from jorder_preproc.int8 import load_ranges, measure_ranges, quantize, quantized_layers
from jorder_preproc.metrics import psnr
from jorder_preproc.models import save_weights
from jorder_preproc.models.encoder_decoder import GatedBlock
from jorder_preproc.models.shipped import JorderELite_Weights
from tests.networks import random_network
from training.__main__ import main as training


@pytest.fixture(scope="module")
def clean():
    data = skimage.data
    photos = data.astronaut(), data.coffee(), data.cat(), data.chelsea(), data.rocket()
    parts = [photo[top : top + 131, 60:263] for photo in photos for top in (0, 84, 168)]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).repeat(2, 1, 1, 1) / 255


@pytest.fixture(scope="module")
def rainy(clean):
    presets = ["light"] * 15 + ["heavy"] * 15
    return torch.stack(
        [
            synthesize_rain(image, preset, 1, str(number)).rainy
            for number, (image, preset) in enumerate(zip(clean, presets, strict=True))
        ]
    )


@pytest.fixture
def own_weights(tmp_path):
    """Weights that are not the shipped ones, in a file of their own."""
    network = load_model("jorder_e_lite")
    with torch.no_grad():
        network.stages[0].encoder.weight.mul_(1.001)
    save_weights(network, tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def test_int8_and_bfloat16_cost_less_than_a_tenth_of_a_decibel(clean, rainy):
    network = load_model()
    expected = derain(network, rainy)
    # only the means by preset: single images of this size lose or gain up to 0.4 dB
    scores = psnr(expected.background, clean).reshape(2, 15).mean(1)
    for backend, precision in (
        ("torch", "bfloat16"),
        ("openvino", "bfloat16"),
        ("onnxruntime", "int8"),
        ("openvino", "int8"),
    ):
        found = derain(use_backend(load_model(), backend, precision), rainy)
        loss = scores - psnr(found.background, clean).reshape(2, 15).mean(1)
        assert loss.max() < 0.1, (backend, precision)
        exact = torch.equal(found.background, expected.background)
        # where the processor has no bfloat16, OpenVINO computes in float32
        assert not exact or (backend, precision) == ("openvino", "bfloat16")
        if network.presence is not None:
            # as sure that it rains
            assert (found.rain_probability > network.dry_threshold).all()


def test_which_layers_have_8_bits():
    gated = load_model("jorder_e_lite")
    blocks = [name for name, part in gated.named_modules() if isinstance(part, GatedBlock)]
    behind_norms = {f"{block}.{layer}" for block in blocks for layer in ("expand", "mix_in")}
    assert quantized_layers(gated).keys() == behind_norms

    dilated = random_network("jorder_e_practical")
    parts = [stage.context.modules() for stage in dilated.stages]
    convolutions = {part for part in itertools.chain(*parts) if isinstance(part, nn.Conv2d)}
    assert set(quantized_layers(dilated).values()) == convolutions


def test_a_layer_computes_with_integers():
    """Against the convolution of integers, scaled afterwards."""
    network = load_model("jorder_e_lite")
    layers = quantized_layers(network)
    name, layer = next(iter(layers.items()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer.reset_parameters()  # the shipped weights, of half precision, may lie between steps

    def convolve(features, weight, bias=None):
        return conv2d(*map(torch.from_numpy, (features, weight)), bias, padding=layer.padding)

    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, layer.in_channels, 6, 7)).astype(np.float32)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    low, high = (value.item() for value in convolve(features, weight, layer.bias).aminmax())
    ranges = {key: {"input": (-2.0, 3.0), "output": (low, high)} for key in layers}
    step = 5 / 255
    zero = round(2 / step)
    integers = np.clip(np.rint(features / step) + zero, 0, 255).astype(np.int64) - zero
    scales = np.abs(weight).max((1, 2, 3)) / 127
    sums = convolve(integers, np.rint(weight / scales[:, None, None, None]).astype(np.int64))
    expected = sums.numpy() * (step * scales)[:, None, None] + bias[:, None, None]

    def compute(outputs):
        rounded = quantize(network, ranges, outputs).get_submodule(name)
        return rounded(torch.from_numpy(features)).numpy()

    np.testing.assert_allclose(compute(outputs=False), expected, rtol=0, atol=1e-5)
    found = compute(outputs=True)
    assert len(np.unique(found)) <= 256
    inside = (expected > low) & (expected < high)
    assert np.abs(found - expected)[inside].max() <= 0.51 * (high - low) / 255


def test_ranges_are_those_of_the_features(rainy):
    network = load_model("jorder_e_lite")
    images = rainy[:2, :, :128, :128], rainy[5, :, :96, :160]
    found = measure_ranges(network, images)
    assert found.keys() == quantized_layers(network).keys()
    first, stage = "context.encoders.0.0", network.stages[0]
    name = f"stages.0.{first}.expand"
    inputs = []
    with torch.no_grad():
        for batch in (images[0], images[1][None]):
            features = stage.encoder(pixel_unshuffle(batch, 2))
            inputs.append(stage.get_submodule(first).norm(features))
        outputs = [network.get_submodule(name)(part) for part in inputs]
    for what, parts in (("input", inputs), ("output", outputs)):
        values = torch.cat([part.flatten() for part in parts])
        expected = min(values.min().item(), 0), max(values.max().item(), 0)
        assert found[name][what] == pytest.approx(expected, rel=1e-4)
    # the hooks are gone
    assert not any(layer._forward_hooks for layer in network.modules())


def test_shipped_ranges_belong_to_the_shipped_weights():
    """If this fails after a change of weights: `python -m training ranges`, docs/training.md."""
    network = load_model()
    ranges = load_ranges(network)
    assert ranges.keys() == quantized_layers(network).keys()


def test_other_weights_need_ranges_of_their_own(own_weights, rainy, clean, tmp_path):
    network = load_model("jorder_e_lite", own_weights)
    with pytest.raises(ValueError, match="own.int8.json does not exist; measure them with `python"):
        use_backend(network, "onnxruntime", "int8")
    shutil.copy(
        JorderELite_Weights.DEFAULT.file.with_suffix(".int8.json"), tmp_path / "own.int8.json"
    )
    with pytest.raises(ValueError, match="was measured with other weights"):
        use_backend(network, "onnxruntime", "int8")
    for damaged in ("{", "[]", '{"ranges": 1}'):
        (tmp_path / "own.int8.json").write_text(damaged)
        with pytest.raises(ValueError, match="own.int8.json is damaged"):
            use_backend(network, "onnxruntime", "int8")
    (tmp_path / "photos").mkdir()
    for number in range(2):
        pixels = (clean[number, :, :96, :128] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"photos/{number}.png")
    assert training(["ranges", str(own_weights), str(tmp_path / "photos")]) == 0
    content = json.loads((tmp_path / "own.int8.json").read_text())
    assert content["ranges"].keys() == quantized_layers(network).keys()
    assert use_backend(network, "onnxruntime", "int8").engine is not None


def test_weights_of_no_file_have_no_ranges():
    network = load_model("jorder_e_lite")
    network.weights_file = None
    with pytest.raises(ValueError, match="come from no file"):
        use_backend(network, "onnxruntime", "int8")


def test_export_in_int8_with_calibration(own_weights, clean, rainy, tmp_path):
    def run_command(*options):
        path = tmp_path / "a.onnx"
        arguments = ["export", path, "--weights", own_weights, *options]
        return CliRunner().invoke(app, list(map(str, arguments)))

    result = run_command("--int8")
    assert result.exit_code == 2 and "--calibration" in result.stderr
    (tmp_path / "rainy").mkdir()
    result = run_command("--int8", "--calibration", tmp_path / "rainy")
    assert result.exit_code == 2 and "no images in the folder" in result.stderr
    result = run_command("--calibration", tmp_path / "rainy")
    assert result.exit_code == 2 and "--calibration is for --int8" in result.stderr
    damaged = tmp_path / "rainy/damaged.png"
    damaged.write_bytes(b"no image")
    result = run_command("--int8", "--calibration", tmp_path / "rainy")
    assert result.exit_code == 2 and "damaged.png: not an image" in result.stderr
    damaged.unlink()
    for number in (0, 3):
        pixels = (rainy[number] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"rainy/{number}.png")
    result = run_command("--int8", "--calibration", tmp_path / "rainy")
    assert result.exit_code == 0, result.output
    graph = onnx.load(str(tmp_path / "a.onnx")).graph
    assert sum(node.op_type == "Conv" for node in graph.node) > 20
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) >= 60
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(["background"], {"rainy": rainy.numpy()})[0])
    expected = derain(load_model("jorder_e_lite", own_weights), rainy).background
    loss = (psnr(expected, clean) - psnr(found, clean)).reshape(2, 15).mean(1)
    assert loss.max() < 0.1
    assert not torch.equal(found, expected)


def test_a_slow_processor_is_named(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    with pytest.warns(UserWarning, match="no VNNI instructions"):
        use_backend(load_model("jorder_e_lite"), "onnxruntime", "int8")


def test_int8_is_not_for_every_backend():
    with pytest.raises(ValueError, match="torch has no int8; use float32, or one of onnxruntime"):
        use_backend(load_model("jorder_e_lite"), "torch", "int8")
