import torch

from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder, LabelConvention


def random_network(name: str, label_convention: LabelConvention = "paper") -> Jorder:
    """Untrained, the same every time: it changes pictures a lot, and sees rain in places."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Jorder(name, label_convention).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.reset_parameters()
    return network


def random_deveil_network(name: str = "jorder_deveil_lite") -> DeveilNetwork:
    """Untrained, the same every time: it sees a veil before bright pictures, none before dark."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = DeveilNetwork(name).eval()
        last = network.head[-1]
        torch.nn.init.normal_(last.weight, std=0.01)
        last.bias.data = torch.tensor([0.2, -0.9])  # constant and linear term of log alpha
    return network
