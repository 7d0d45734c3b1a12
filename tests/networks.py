import hashlib
from pathlib import Path

import pytest
import torch

from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder, LabelConvention
from jorder_preproc.models.shipped import SHIPPED
from jorder_preproc.models.variants import Variant


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
    mean over the image, padded to a multiple of 8.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Jorder("jorder_e_lite").eval().requires_grad_(False)
        for parameter in network.stages.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    network.gated = False
    # the first feature is the brightness, down to the coarsest resolution
    encoder, context = network.stages[0].encoder, network.stages[0].context
    encoder.weight[0] = encoder.bias[0] = 0
    encoder.weight[0, :, 1, 1] = 1 / 12
    for down in context.downs:
        down.weight[0] = down.bias[0] = 0
        down.weight[0, 0] = 1 / 4
    for blocks in (*context.encoders, context.coarsest):
        for block in blocks:
            for last in (block.project, block.mix_out):
                torch.nn.init.zeros_(last.weight)
                torch.nn.init.zeros_(last.bias)
    logit = network.presence.logit
    torch.nn.init.zeros_(logit.weight)
    logit.weight[0, 0] = 100
    logit.bias[0] = -100 * rain_above
    network.dry_threshold = 0.5
    return network


def ship(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put the files of a folder, NAME.safetensors, in place of the shipped weights."""
    monkeypatch.setattr("jorder_preproc.models.shipped.SHIPPED_WEIGHTS", folder)
    for name, weights in SHIPPED.items():
        file = folder / f"{name}.safetensors"
        if file.is_file():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            monkeypatch.setitem(weights.meta, "sha256", digest)


def tiny_network() -> Jorder:
    """`random_network` of the default kind with few channels, so that large images are quick."""
    variant = Variant(
        channels=4,
        blocks=1,
        stages=1,
        context="encoder_decoder",
        levels=2,
        outer_blocks=1,
        block="release",
        fusion="modulate",
        unshuffle=2,
        head_channels=4,
        fusion_kernel=1,
        cues=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Jorder("tiny", variant=variant).eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.reset_parameters()
    return network
