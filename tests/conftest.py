import pytest
import torch

# In the process that starts pytest-xdist's workers too: at its first import yapf writes its
# grammars to a cache, and workers that do so at the same time read each other's half-written files.
import yapf.yapflib.yapf_api

from jorder_preproc.models import save_weights
from jorder_preproc.models.jorder import Jorder
from tests.networks import random_deveil_network, random_network


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
def weights(network, tmp_path_factory) -> str:
    """Of a network that changes every image a lot, twice more than once."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(network, path)
    return str(path)


@pytest.fixture(scope="session")
def deveil_weights(tmp_path_factory) -> str:
    """With `deveil="auto"` they take a veil off some images, and none off dark ones."""
    path = tmp_path_factory.mktemp("weights") / "deveil.safetensors"
    save_weights(random_deveil_network(), path)
    return str(path)


@pytest.fixture(scope="session")
def one_thread():
    """Workers and commands, which have one thread, then round the same way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def harmless_network() -> Jorder:
    """Sees no rain anywhere, and would change every pixel if it were not gated."""
    harmless = random_network("jorder_e_lite")
    with torch.no_grad():
        # the first half of the folded channels is class 0, no rain; so high that the softmax
        # of the other is 0 and not merely tiny
        harmless.stages[-1].heads.mask[1].bias[:4] = 1000.0
    return harmless
