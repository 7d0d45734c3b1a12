import torch

from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder, LabelConvention


def random_network(name: str, label_convention: LabelConvention = "paper") -> Jorder:
    """Untrained, the same every time: it changes images a lot, and sees rain in places."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Jorder(name, label_convention).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.reset_parameters()
    return network


def random_deveil_network(name: str = "jorder_deveil_lite") -> DeveilNetwork:
    """Untrained, the same every time: it sees a veil before bright images, none before dark."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = DeveilNetwork(name).eval()
        last = network.head[-1]
        torch.nn.init.normal_(last.weight, std=0.01)
        last.bias.data = torch.tensor([0.2, -0.9])  # constant and linear term of log alpha
    return network


def network_that_sees(rain_above: float) -> Jorder:
    """An untrained network that changes every image, and sees rain in bright ones.

    The probability is the sigmoid of 100 (brightness - `rain_above`), the brightness being the
    mean of every fourth square of 4x4 pixels in every fourth row of them.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Jorder("jorder_e_unet").eval().requires_grad_(False)
        for parameter in network.stages.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    network.gated = False
    # the first channel is the brightness of the cell; what is above the limit makes rain likely
    presence = network.presence
    for parameter in presence.parameters():
        torch.nn.init.zeros_(parameter)
    presence.convs[0].weight[0, :, 1, 1] = 1 / 48
    for convolution in presence.convs[1:]:
        convolution.weight[0, 0, 1, 1] = 1
    presence.summary.weight[0, 0] = 1
    presence.logit.weight[0, 0] = 100
    presence.logit.bias[0] = -100 * rain_above
    network.dry_threshold = 0.5
    return network
