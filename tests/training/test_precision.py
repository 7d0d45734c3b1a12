"""float32 or bfloat16, whichever the processor trains faster in."""

import pickle

import pytest
import torch

import training.precision
from training.precision import FasterPrecisionOptimWrapper, has_bfloat16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_f": True, "amx_bf16": True}, True),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_instructions_for_bfloat16(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16() is expected


def test_a_torch_that_cannot_tell_counts_as_without_them(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16()


def make_wrapper():
    network = torch.nn.Linear(2, 2)
    wrapper = FasterPrecisionOptimWrapper(torch.optim.SGD(network.parameters(), lr=0.1))
    return network, wrapper


def dtypes_of_iterations(monkeypatch, seconds, count=20, resume_at=None):
    """What a network computes in, iteration by iteration, if one takes `seconds[dtype]`."""
    network, wrapper = make_wrapper()
    now = 0.0
    monkeypatch.setattr(training.precision.time, "perf_counter", lambda: now)
    dtypes = []
    for _ in range(count):
        with wrapper.optim_context(network):
            output = network(torch.ones(1, 2))
        dtypes.append(output.dtype)
        # the first of a block of four must not count, however short; other work delays the rest,
        # but for one iteration in each precision
        first, undisturbed = len(dtypes) % 4 == 1, len(dtypes) in (3, 8)
        now += 0.1 if first else seconds[output.dtype] * (1 if undisturbed else 5)
        wrapper.update_params(output.float().sum())
        if len(dtypes) == resume_at:
            state = pickle.loads(pickle.dumps(wrapper.state_dict()))
            network, wrapper = make_wrapper()
            wrapper.load_state_dict(state)
    return dtypes


@pytest.mark.parametrize("resume_at", [None, 6, 18])
@pytest.mark.parametrize("faster", [torch.float32, torch.bfloat16])
def test_the_faster_precision_stays(monkeypatch, faster, resume_at):
    monkeypatch.setattr(training.precision, "has_bfloat16", lambda: True)
    seconds = {torch.float32: 1.0, torch.bfloat16: 1.0, faster: 0.9}
    dtypes = dtypes_of_iterations(monkeypatch, seconds, resume_at=resume_at)
    assert dtypes[:16] == [*[torch.float32] * 4, *[torch.bfloat16] * 4] * 2
    assert dtypes[16:] == [faster] * 4


def test_float32_where_bfloat16_is_emulated(monkeypatch):
    monkeypatch.setattr(training.precision, "has_bfloat16", lambda: False)
    seconds = {torch.float32: 1.0}
    assert dtypes_of_iterations(monkeypatch, seconds, 3) == [torch.float32] * 3


def test_processes_use_one_precision(monkeypatch):
    """The first one's choice, and bfloat16 is not tried where one has no instructions for it."""
    monkeypatch.setattr(training.precision, "has_bfloat16", lambda: True)
    monkeypatch.setattr(training.precision, "all_gather_object", lambda mine: [mine, False])
    seconds = {torch.float32: 1.0, torch.bfloat16: 0.9}
    assert dtypes_of_iterations(monkeypatch, seconds) == [torch.float32] * 20

    def receive(choice):
        choice[0] = False

    monkeypatch.setattr(training.precision, "all_gather_object", lambda mine: [mine, True])
    monkeypatch.setattr(training.precision, "broadcast_object_list", receive)
    assert dtypes_of_iterations(monkeypatch, seconds)[16:] == [torch.float32] * 4
