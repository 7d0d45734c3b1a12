"""bfloat16 where the processor has instructions for it."""

import pytest
import torch

from training.precision import BFloat16OptimWrapper, bfloat16


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_f": True, "amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_a_processor_without_instructions_computes_in_float32(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    network = torch.nn.Linear(2, 2)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(network.parameters(), lr=0.1))
    with wrapper.optim_context(network):
        assert network(torch.ones(1, 2)).dtype == dtype
    with bfloat16("cpu", enabled=False):
        assert network(torch.ones(1, 2)).dtype == torch.float32


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    with bfloat16("cpu"):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
