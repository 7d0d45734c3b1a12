"""The mean of weights: values by hand, its file, and what has no mean."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from jorder_preproc.models import load_model, save_weights
from tests.networks import random_deveil_network, random_network
from training.__main__ import main
from training.average import average


@pytest.fixture
def files(tmp_path):
    paths = [str(tmp_path / f"{name}.safetensors") for name in "abc"]
    for seed, path in enumerate(paths):
        network = random_network("jorder_e_lite")
        generator = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            parameter.data += torch.rand(parameter.shape, generator=generator)
        network.dry_threshold = 0.4
        save_weights(network, path)
    return paths


def run(*arguments):
    return main(["average", *map(str, arguments)])


@pytest.mark.parametrize("shares", [(0.2, 0.7, 0.1), None])
def test_the_file_holds_the_mean_in_half_precision(files, tmp_path, shares):
    out = tmp_path / "new" / "mean.safetensors"
    given = ["--shares", *shares] if shares else []
    before = [Path(path).read_bytes() for path in files]
    assert run(*files, *given, "--out", out) == 0
    assert [Path(path).read_bytes() for path in files] == before
    tensors, written = [load_file(path) for path in files], load_file(out)
    assert written.keys() == tensors[0].keys()
    for name, value in written.items():
        stacked = np.stack([of_file[name] for of_file in tensors]).astype(np.float64)
        expected = np.average(stacked, axis=0, weights=shares)
        assert value.dtype == np.float16
        np.testing.assert_allclose(value, expected, rtol=2**-11, atol=1e-6)
    # the threshold belonged to other weights
    assert load_model("jorder_e_lite", out).dry_threshold == 0


def test_of_deveil_networks(tmp_path):
    one, other = random_deveil_network(), random_deveil_network()
    for parameter in other.parameters():
        parameter.data.mul_(3)
    mean = average([one, other], [0.75, 0.25])
    for value, expected in zip(mean.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(value, 1.5 * expected)


def test_a_mean_has_no_ranges_of_int8(files):
    networks = [load_model("jorder_e_lite", path) for path in files]
    assert average(networks).weights_file is None
    assert networks[0].weights_file is not None


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.5, 0.4), "sum to 1, got 0.5 + 0.4 = 0.9"),
        ((1.5, -0.5), r"must be in [0, 1] and sum to 1, got 1.5 + -0.5 = 1"),
        ((math.nan, 1), "got nan + 1 = nan"),
        ((0.5, 0.25, 0.25), "each of the 2 weights needs its share, got 3 shares"),
    ],
)
def test_wrong_shares(files, tmp_path, capsys, shares, said):
    out = tmp_path / "mean.safetensors"
    assert run(*files[:2], "--out", out, "--shares", *shares) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_weights_without_a_mean(files, tmp_path, capsys):
    out = tmp_path / "mean.safetensors"
    assert run(files[0], "--out", out) == 2
    assert "at least two networks, got 1" in capsys.readouterr().err
    save_weights(random_network("jorder_e"), tmp_path / "e.safetensors")
    assert run(files[0], tmp_path / "e.safetensors", "--out", out) == 2
    assert "holds weights of jorder_e, not of jorder_e_lite" in capsys.readouterr().err
    ungated = load_model("jorder_e_lite", files[1])
    ungated.gated = False
    with pytest.raises(ValueError, match=r"input scale 1, gated\) and .* not gated\)"):
        average([load_model("jorder_e_lite", files[0]), ungated])
    release = random_network("jorder_e_practical", "release")
    with pytest.raises(ValueError, match=r"paper labels, .* and .*release labels"):
        average([random_network("jorder_e_practical"), release])
    assert not out.exists()
