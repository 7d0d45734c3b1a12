"""Checkpoints of any origin, read without running what is in them."""

import hashlib
import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from evaluation.downstream.checkpoints import file_sha256, read_state

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.count": torch.tensor(7)}


def assert_read(path):
    state = read_state(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(value, STATE[name]) for name, value in state.items())


class Copy:
    """Copies this file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return shutil.copyfile, (__file__, self.path)


def test_reads_safetensors_and_the_wrappings_of_pickles(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    assert_read(tmp_path / "a.safetensors")
    wrapped = OrderedDict((f"module.{name}", value) for name, value in STATE.items())
    for number, content in enumerate([STATE, {"state_dict": wrapped}, {"model": STATE, "x": 1}]):
        torch.save(content, tmp_path / f"{number}.pth")
        assert_read(tmp_path / f"{number}.pth")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_read(tmp_path / "old.pth")


def test_reads_what_mmengine_saves(tmp_path):
    """Logs, NumPy scalars and configs are no tensors; torch.load refuses them."""
    logs = {"train/loss": HistoryBuffer([1.0, 2.0], [1, 1])}
    meta = {"seed": np.int64(3), "classes": ("a", "b"), "cfg": ConfigDict(lr=1)}
    torch.save({"state_dict": STATE, "message_hub": logs, "meta": meta}, tmp_path / "epoch_1.pth")
    assert_read(tmp_path / "epoch_1.pth")


def test_runs_nothing(tmp_path):
    mark = tmp_path / "copy"
    torch.save({"state_dict": STATE, "other": Copy(mark)}, tmp_path / "a.pth")
    assert_read(tmp_path / "a.pth")
    assert not mark.exists()
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert mark.exists()


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*a.pth"):
        read_state(tmp_path / "a.pth")
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(ValueError, match="holds no state_dict: expected named tensors"):
        read_state(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        read_state(tmp_path / "b.pth")


def test_sha256(tmp_path):
    content = bytes(range(256)) * 9000  # more than one read
    (tmp_path / "x").write_bytes(content)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()
