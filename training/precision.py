"""Mixed precision in bfloat16, which needs no loss scaling and also works on the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def bfloat16(device: str, enabled: bool = True) -> torch.autocast:
    """Autocast to bfloat16; on a CPU without instructions for it, nothing changes.

    There bfloat16 is emulated, several times slower than float32. A torch that cannot tell what
    the CPU has counts as one without.

    Args:
        device: type of device, for example "cpu".
        enabled: False changes nothing anywhere.
    """
    if device == "cpu":
        capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        enabled = enabled and any(capabilities.get(name) for name in _INSTRUCTIONS)
    return torch.autocast(device, torch.bfloat16, enabled=enabled)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under `bfloat16`."""

    def optim_context(self, model):  # type: ignore[no-untyped-def]
        return bfloat16(next(model.parameters()).device.type)
