import torch

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
