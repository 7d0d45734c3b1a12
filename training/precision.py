"""Mixed precision in bfloat16, which needs no loss scaling and also works on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from mmengine.dist import all_gather_object, broadcast_object_list
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor

_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
_BLOCK = 4  # iterations in one precision; the first of each block prepares memory and kernels
_TRIALS = 8  # iterations of each precision


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16.

    Without them it is emulated, several times slower than float32. A torch that cannot tell
    what the CPU has counts as one without.
    """
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in _INSTRUCTIONS)


@OPTIM_WRAPPERS.register_module()
class FasterPrecisionOptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 or float32, whichever trains faster on this processor.

    On a CPU with bfloat16 instructions the first 16 iterations, in blocks of either, are timed;
    the one with the shortest iteration is kept, since other work on the machine only ever makes
    them longer. Other CPUs use float32, GPUs bfloat16. Checkpoints keep the choice, and how far
    the trials are. Of several processes the first one chooses.
    """

    def __init__(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        super().__init__(*args, **kwargs)
        self._seconds: dict[bool, list[float]] = {False: [], True: []}  # by: in bfloat16
        self._chosen: bool | None = None

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Autocast of the forward pass; see MMEngine."""
        device = next(model.parameters()).device.type
        if device != "cpu":
            self._chosen = True
        elif self._chosen is None and not self._seconds[False]:
            # the same in all processes, or one would wait for the choice of the others
            self._chosen = None if all(all_gather_object(has_bfloat16())) else False
        low = self._turn() if self._chosen is None else self._chosen
        self._started = time.perf_counter()
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=low):
            yield

    def update_params(self, loss: Tensor, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        """Backward pass and update; see MMEngine."""
        super().update_params(loss, *args, **kwargs)
        if self._chosen is None:
            self._seconds[self._turn()].append(time.perf_counter() - self._started)
            if len(self._seconds[True]) == _TRIALS:
                single, half = (
                    min(s for k, s in enumerate(self._seconds[low]) if k % _BLOCK)
                    for low in (False, True)
                )
                choice = [half < single]
                broadcast_object_list(choice)
                self._chosen = choice[0]
                print_log(
                    f"an iteration takes {single:.3f} s in float32 and {half:.3f} s in bfloat16: "
                    f"{'bfloat16' if self._chosen else 'float32'} from here on",
                    "current",
                )

    def state_dict(self) -> dict:
        """That of the optimizer, and the state of the choice."""
        return {**super().state_dict(), "seconds": self._seconds, "bfloat16": self._chosen}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on with the choice of the run that is resumed."""
        state = dict(state_dict)
        self._seconds = state.pop("seconds", self._seconds)
        self._chosen = state.pop("bfloat16", self._chosen)
        super().load_state_dict(state)

    def _turn(self) -> bool:
        done = sum(map(len, self._seconds.values()))
        return done // _BLOCK % 2 == 1
