import pytest
import torch

# In the process that starts pytest-xdist's workers too: at its first import yapf writes its
# grammars to a cache, and workers that do so at the same time read each other's half-written files.
import yapf.yapflib.yapf_api

from jorder_preproc.models.jorder import Jorder
from tests.networks import random_network


@pytest.fixture(scope="session", autouse=True)
def unformatted_configs():
    """MMEngine formats the config of every run with yapf, which takes longer than a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf.yapflib.yapf_api, "FormatCode", lambda text, **_: (text, True))
        yield


@pytest.fixture(scope="session")
def network() -> Jorder:
    return random_network("jorder_e_lite")


@pytest.fixture(scope="session")
def harmless_network() -> Jorder:
    """Sees no rain anywhere, and would change every pixel if it were not gated."""
    harmless = random_network("jorder_e_lite")
    with torch.no_grad():
        # the first half of the folded channels is class 0, no rain; so high that the softmax
        # of the other is 0 and not merely tiny
        harmless.stages[-1].heads.mask[1].bias[:4] = 1000.0
    return harmless
