import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from jorder_preproc.models import Jorder, build_model, load_model, save_weights
from jorder_preproc.models.weights import convert_release
from tests.networks import random_network, ship

LITE = "jorder_e_lite"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model(LITE)


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / "lite.safetensors"
    save_weights(network, path)
    return path


class RunsCode:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def release_state_dict(blocks=3, channels=32):
    """Tensors with the names and shapes of the authors' checkpoint, written out by hand."""
    torch.manual_seed(1)
    tensors = {}

    def conv(name, out_channels, in_channels):
        tensors[f"{name}.weight"] = torch.randn(out_channels, in_channels, 3, 3) / 50
        tensors[f"{name}.bias"] = torch.randn(out_channels) / 50

    for stage in ("jorder1", "jorder2"):
        conv(f"{stage}.encoder", channels, 6)
        for block in range(1, blocks + 1):
            for index in range(1, 7):
                conv(f"{stage}.updater.res{block}.conv{index}", channels, channels)
        for head, outputs in (("mask", 2), ("level", 3)):
            conv(f"{stage}.{head}_estimator1", 8, channels)
            conv(f"{stage}.{head}_estimator2", outputs, 8)
            for branch in ("w", "b"):
                conv(f"{stage}.{head}_F_{branch}_encoder1", 16, outputs)
                conv(f"{stage}.{head}_F_{branch}_encoder2", channels, 16)
        conv(f"{stage}.decoder.0", channels, channels)
        conv(f"{stage}.decoder.1", 3, channels)
    return tensors


def release_forward(tensors, rainy):
    """The forward pass of the release, as plain functions on 0-255 images: the reference."""
    from torch.nn.functional import conv2d, relu

    state = {"mask": 0, "level": 0, "features": [0, 0, 0]}
    estimate = rainy
    for stage in ("jorder1", "jorder2"):

        def conv(x, name, dilation=1, stage=stage):
            weight, bias = (tensors[f"{stage}.{name}.{part}"] for part in ("weight", "bias"))
            return conv2d(x, weight, bias, padding=dilation, dilation=dilation)

        f = conv(torch.cat([rainy, estimate], 1), "encoder")
        for k in range(3):
            name = f"updater.res{k + 1}.conv"
            main = relu(conv(relu(conv(f, name + "1")), name + "2"))
            two = relu(conv(relu(conv(f, name + "3", 2)), name + "4", 2))
            four = relu(conv(relu(conv(f, name + "5", 2)), name + "6", 4))
            f = f + main + 0.1 * two + 0.1 * four + state["features"][k]
            state["features"][k] = f
        scaled, shift = f, f
        for head in ("mask", "level"):
            state[head] = conv(conv(f, head + "_estimator1"), head + "_estimator2") + state[head]
            for branch in ("w", "b"):
                hidden = relu(conv(state[head], f"{head}_F_{branch}_encoder1"))
                value = conv(hidden, f"{head}_F_{branch}_encoder2")
                scaled, shift = (
                    (scaled * value, shift) if branch == "w" else (scaled, shift + value)
                )
        estimate = rainy + conv(conv(scaled + shift, "decoder.0"), "decoder.1")
    return estimate, state["level"], state["mask"]


def test_saved_weights_load_into_the_same_network(network, weights):
    loaded = load_model(LITE, weights)
    image = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        expected = network(image)[-1]
        actual = loaded(image)[-1]
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_loaded_network_is_ready_for_inference(weights):
    loaded = load_model(LITE, weights)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    kernel = loaded.stages[0].encoder.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_loading_leaves_the_random_state(weights):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(LITE, weights)
    assert torch.equal(torch.rand(2), expected)


def test_convention_and_scale_travel_with_the_weights(tmp_path):
    path = tmp_path / "release.safetensors"
    save_weights(Jorder("jorder_e_practical", "release", 255.0), path)
    loaded = load_model("jorder_e_practical", path)
    assert (loaded.label_convention, loaded.input_scale) == ("release", 255)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {
            "format_version": "1",
            "variant": "jorder_e_practical",
            "label_convention": "release",
            "input_scale": "255",
        }


def test_weights_trained_without_the_gate_are_used_without_it(tmp_path, network):
    path = tmp_path / "ungated.safetensors"
    for gated in (True, False):
        network.gated = gated
        save_weights(network, path)
        assert load_model(LITE, path).gated is gated


def test_saving_replaces_whole_or_not_at_all(network, weights, monkeypatch):
    before = weights.read_bytes()

    def fail_half_way(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail_half_way)
    with pytest.raises(OSError, match="disk full"):
        save_weights(network, weights)
    assert weights.read_bytes() == before
    assert list(weights.parent.iterdir()) == [weights]


def test_weights_of_another_variant(weights):
    with pytest.raises(
        ValueError, match="holds weights of jorder_e_lite, not of jorder_e; ask for the model"
    ):
        load_model("jorder_e", weights)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="is neither; check the path"):
        load_model(LITE, tmp_path / "none.safetensors")


def test_unknown_model_before_missing_file(tmp_path):
    with pytest.raises(ValueError, match="unknown model"):
        load_model("jorder_x", tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", ["truncated", "header", "empty", "text"])
def test_damaged_file(weights, damage):
    content = weights.read_bytes()
    weights.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "header": content[:8] + b"\xff" * 64 + content[72:],
            "empty": b"",
            "text": b"version https://git-lfs.github.com/spec/v1\n",
        }[damage]
    )
    with pytest.raises(ValueError, match="damaged or not a safetensors file.*again"):
        load_model(LITE, weights)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not written by jorder-preproc"):
        load_model(LITE, path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", "2", "format version 2, this jorder-preproc reads 1; upgrade"),
        ("label_convention", "other", "label_convention must be one of paper, release"),
        ("input_scale", "0", "input_scale must be positive"),
        ("input_scale", "white", "wrong metadata"),
    ],
)
def test_wrong_metadata(weights, key, value, message):
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(weights), weights, metadata | {key: value})
    with pytest.raises(ValueError, match=message):
        load_model(LITE, weights)


def test_weights_that_are_not_finite(weights):
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(weights)
    tensors["stages.0.encoder.bias"][3] = torch.inf
    save_file(tensors, weights, metadata)
    with pytest.raises(ValueError, match=r"not finite, in stages\.0\.encoder\.bias; export"):
        load_model(LITE, weights)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_wrong_tensors(weights, change):
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(weights)
    if change == "missing":
        del tensors["stages.0.encoder.bias"]
        message = "1 tensors missing, stages.0.encoder.bias"
    elif change == "unexpected":
        tensors["extra"] = torch.zeros(1)
        message = "1 tensors unexpected, extra"
    else:
        tensors["stages.0.encoder.bias"] = torch.zeros(5)
        message = re.escape("stages.0.encoder.bias is (5,) instead of (32,)")
    save_file(tensors, weights, metadata)
    with pytest.raises(ValueError, match=f"does not fit jorder_e_lite: {message}"):
        load_model(LITE, weights)


@pytest.mark.parametrize("writer", ["torch", "torch-legacy", "pickle"])
def test_pickle_is_refused_and_its_code_not_run(tmp_path, writer):
    trace, path = tmp_path / "trace", tmp_path / "evil.pt"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(RunsCode(trace), protocol=2))
    else:
        torch.save(RunsCode(trace), path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(ValueError, match=r"is a pickle, which could run code.*jorder convert"):
        load_model(LITE, path)
    with pytest.raises(ValueError, match="code, which was not run"):
        convert_release(path, tmp_path / "out.safetensors")
    assert not trace.exists()
    assert not (tmp_path / "out.safetensors").exists()
    torch.load(path, weights_only=False) if writer != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()  # it would have run


def test_no_shipped_weights_says_which_ship():
    with pytest.raises(ValueError, match=r"no weights for jorder_r come .*lite\); train some, or"):
        load_model("jorder_r")


def test_shipped_weights_that_were_changed(network, tmp_path, monkeypatch):
    shipped = tmp_path / f"{LITE}.safetensors"
    save_weights(network, shipped)
    ship(monkeypatch, tmp_path)
    assert load_model().name == LITE
    save_weights(random_network(LITE), shipped)
    with pytest.raises(ValueError, match=r"not the file that came with .*: its sha256 .* again"):
        load_model()
    # a file that a user names is not compared
    shipped.rename(tmp_path / "own.safetensors")
    assert load_model(LITE, tmp_path / "own.safetensors").name == LITE


def test_converted_release_matches_the_release(tmp_path):
    tensors = release_state_dict()
    assert len(tensors) == 132
    torch.save(tensors, tmp_path / "release.pt", _use_new_zipfile_serialization=False)
    out = tmp_path / "converted.safetensors"
    assert convert_release(tmp_path / "release.pt", out).name == "jorder_e_practical"

    network = load_model("jorder_e_practical", out)
    assert network.label_convention == "release"
    rainy = torch.rand(1, 3, 12, 15)
    background, streaks, mask = release_forward(tensors, rainy * 255)
    actual = network(rainy)[-1]
    torch.testing.assert_close(actual.background, background / 255, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual.streak_map, streaks / 255, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual.mask_logits, mask, rtol=1e-4, atol=1e-2)


def test_full_release_is_recognised(tmp_path):
    torch.save(release_state_dict(blocks=9, channels=64), tmp_path / "full.pth")
    assert convert_release(tmp_path / "full.pth", tmp_path / "full.safetensors").name == "jorder_e"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other.weight": torch.zeros(1)}, "unknown tensor 'other.weight'"),
        ({"jorder1.encoder.bias": torch.zeros(7)}, "is not one of the authors' released networks"),
        ({"epoch": 3}, "must hold a plain state dict"),
        ([1, 2], "must hold a plain state dict"),
    ],
)
def test_convert_refuses_other_checkpoints(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=message):
        convert_release(tmp_path / "other.pt", tmp_path / "out.safetensors")


def test_convert_damaged_and_missing(tmp_path):
    torch.save(release_state_dict(), tmp_path / "release.pt")
    content = (tmp_path / "release.pt").read_bytes()
    (tmp_path / "release.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read as plain tensors: it is damaged"):
        convert_release(tmp_path / "release.pt", tmp_path / "out.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        convert_release(tmp_path / "none.pt", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_convention": "other"}, "label_convention must be one of paper, release"),
        ({"input_scale": 0}, "input_scale must be positive"),
        ({"input_scale": float("nan")}, "input_scale must be positive"),
    ],
)
def test_network_checks_what_belongs_to_its_weights(arguments, message):
    with pytest.raises(ValueError, match=message):
        Jorder(LITE, **arguments)
