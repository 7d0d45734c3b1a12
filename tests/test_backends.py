"""Every backend derains as eager PyTorch does."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import skimage.data
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from typer.testing import CliRunner

from jorder_preproc import JorderDerain, derain, load_model, synthesize_rain
from jorder_preproc.backends import to_onnx, use_backend
from jorder_preproc.cli import app
from jorder_preproc.models import build_model

NETWORKS = ["jorder_e_lite"]


@pytest.fixture(scope="module")
def images():
    """Photographs, and the same in rain: on dry ones the gate makes any two backends agree."""
    pixels = skimage.data.astronaut()[:131, :203]
    clean = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    return clean, torch.stack(
        [synthesize_rain(clean, preset, 1, "x").rainy for preset in ("light", "heavy")]
    )


@pytest.fixture(scope="module")
def expected(images):
    return {
        name: derain(load_model(name), images[1], with_streak_map=True, with_region_mask=True)
        for name in NETWORKS
    }


@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in NETWORKS for backend in ("onnxruntime", "openvino")]
    + [("jorder_e_lite", "compile")],
)
def test_float32_agrees_with_eager(images, expected, name, backend, monkeypatch):
    # generating C++ code takes a minute or more; the rest of torch.compile is the same without
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    network = use_backend(load_model(name), backend)
    found = derain(network, images[1], with_streak_map=True, with_region_mask=True)
    for part, other in zip(found, expected[name], strict=True):
        if part is not None:
            torch.testing.assert_close(part, other, rtol=0, atol=1e-4)
    assert (found.background - images[1]).abs().max() > 0.1
    # images of other sizes, one by one, in tiles
    one = images[1][1, :, :70, :190]
    tiled = derain(network, one, tile=400).background
    whole = derain(load_model(name), one).background
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bfloat16_changes_less_than_half_a_grey_level(images, expected, name, backend):
    network = use_backend(load_model(name), backend, "bfloat16")
    found = derain(network, images[1]).background
    assert found.dtype == torch.float32
    change = found - expected[name].background
    assert change.square().mean((1, 2, 3)).sqrt().max() < 0.5 / 255
    exact = torch.equal(found, expected[name].background)
    # where the processor has no bfloat16, OpenVINO computes in float32
    assert not exact or backend == "openvino"


def test_the_exported_network_is_that_of_one_window():
    network = build_model("jorder_e_lite").eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    session = onnxruntime.InferenceSession(to_onnx(network), providers=["CPUExecutionProvider"])
    rainy, cues = torch.rand(2, 3, 32, 48), torch.rand(2, 64)
    with torch.no_grad():
        expected = network.predict(rainy, cues)
    found = session.run(None, {"rainy": rainy.numpy(), "cues": cues.numpy()})
    assert [output.name for output in session.get_outputs()] == list(expected._fields)
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "compile"])
def test_a_ready_network_goes_to_other_processes(images, backend, monkeypatch):
    """As to the workers of a DataLoader that are spawned."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    network = use_backend(load_model("jorder_e_lite"), backend)
    transform = pickle.loads(pickle.dumps(JorderDerain(network)))
    assert pickle.loads(pickle.dumps(network)).engine is not None  # not back in PyTorch
    rainy = images[1][1]
    expected = derain(network, rainy).background
    torch.testing.assert_close(transform(rainy), expected, rtol=0, atol=1e-5)


SIGNAL_AFTER_NETWORKS = """
import os, signal
from jorder_preproc import load_model
from jorder_preproc.backends import use_backend

networks = [use_backend(load_model("jorder_e_lite"), "openvino") for _ in range(2)]
while networks:
    networks.pop(0)
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no stack for signals")
def test_signals_are_handled_after_networks_in_openvino():
    """As those by which a DataLoader hears of its workers' ends."""
    command = [sys.executable, "-c", SIGNAL_AFTER_NETWORKS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


class _Derained(Dataset):
    def __init__(self, image):
        self.image, self.transform = image, JorderDerain(backend="openvino")

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return self.transform(self.image)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_workers_have_an_openvino_of_their_own(images):
    dataset = _Derained((images[1][1] * 255).byte())
    expected = JorderDerain(backend="openvino")(dataset.image)  # started in this process, too
    for found in DataLoader(dataset, num_workers=1, multiprocessing_context="fork", timeout=60):
        assert torch.equal(found[0], expected)


def test_a_backend_is_an_option_of_the_transform(images):
    image = (images[1][1] * 255).byte()
    transform = JorderDerain(backend="onnxruntime")
    sent = pickle.loads(pickle.dumps(transform))
    assert torch.equal(sent(image), transform(image))
    difference = transform(image).int() - JorderDerain()(image).int()
    assert difference.abs().max() <= 1


def test_a_backend_is_an_option_of_the_command(images, tmp_path):
    pixels = (images[1][0] * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    options = ["-o", str(tmp_path / "out"), "--backend", "openvino", "--device", "cpu"]
    result = CliRunner().invoke(app, ["derain", str(tmp_path / "a.png"), *options])
    assert result.exit_code == 0, result.output
    found = np.array(Image.open(tmp_path / "out/a.png")).astype(int)
    assert np.abs(found - JorderDerain()(pixels)).max() <= 1
    result = CliRunner().invoke(
        app, ["derain", str(tmp_path / "a.png"), *options, "--precision", "int4"]
    )
    assert result.exit_code == 2 and "int4" in result.stderr


def test_eager_again(images):
    network = use_backend(load_model("jorder_e_lite"), "onnxruntime")
    assert use_backend(network).engine is None


def test_weights_that_were_rounded_are_not_taken_for_exact_ones():
    network = use_backend(load_model("jorder_e_lite"), "torch", "bfloat16")
    assert use_backend(network, "torch", "bfloat16") is network
    for backend, precision in (("torch", "float32"), ("onnxruntime", "int8")):
        with pytest.raises(ValueError, match="were rounded to bfloat16 before; load them again"):
            use_backend(network, backend, precision)


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("tensorrt", "float32", "backend must be one of torch, compile, onnxruntime, openvino"),
        ("torch", "float16", "precision must be one of float32, bfloat16, int8, got 'float16'"),
        ("onnxruntime", "bfloat16", "onnxruntime has no bfloat16 on the CPU"),
    ],
)
def test_unknown_choices_are_named(backend, precision, message):
    with pytest.raises(ValueError, match=message):
        JorderDerain(backend=backend, precision=precision)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"pip install 'jorder-preproc\[openvino\]'"):
        JorderDerain(backend="openvino")


def test_a_ready_network_keeps_its_own():
    with pytest.raises(ValueError, match="use_backend"):
        JorderDerain(build_model("jorder_e_lite"), backend="compile")


def test_other_runtimes_need_the_cpu():
    network = build_model("jorder_e_lite").to("meta")
    with pytest.raises(ValueError, match="onnxruntime runs on the CPU, the network is on meta"):
        use_backend(network, "onnxruntime")
