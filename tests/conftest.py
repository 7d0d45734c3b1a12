import pytest
import torch

from jorder_preproc.models.jorder import Jorder


def random_network(name: str, label_convention: str = "paper") -> Jorder:
    """Untrained, the same every time: it changes pictures a lot, and sees rain in places."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Jorder(name, label_convention).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.reset_parameters()
    return network


@pytest.fixture(scope="session")
def network() -> Jorder:
    return random_network("jorder_e_lite")


@pytest.fixture(scope="session")
def harmless_network() -> Jorder:
    """Sees no rain anywhere, and would change every pixel if it were not gated."""
    harmless = random_network("jorder_e_lite")
    with torch.no_grad():
        # the first half of the folded channels is class 0, no rain
        harmless.stages[-1].heads.mask[1].bias[:4] = 100.0
    return harmless
