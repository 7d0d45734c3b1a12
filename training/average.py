"""`python -m training average WEIGHTS WEIGHTS --out OUT`: the weighted mean of trained weights.

Of runs that began with the same weights the mean is often better than each of them (Wortsman et
al., "Model soups", ICML 2022). The result is written in half precision, without a threshold on the
probability of rain: `python -m training calibrate OUT PHOTOS` sets it.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from jorder_preproc.errors import UserError
from jorder_preproc.models import DeveilNetwork, Jorder, save_weights
from training.command_line import command
from training.score import load_network


@torch.no_grad()
def average(
    networks: Sequence[Jorder | DeveilNetwork], shares: Sequence[float] | None = None
) -> Jorder | DeveilNetwork:
    """A network with the weighted mean of their weights; it derains every image.

    Args:
        networks: at least two, that differ in their weights alone.
        shares: of each network, in [0, 1]; their sum is 1. None takes the plain mean.

    Raises:
        UserError: fewer than two networks, or shares that are not as above; or networks that
            differ in more than their weights.
    """
    count = len(networks)
    if count < 2:
        raise UserError(f"a mean takes the weights of at least two networks, got {count}")
    shares = [1 / count] * count if shares is None else shares
    if len(shares) != count:
        raise UserError(f"each of the {count} weights needs its share, got {len(shares)} shares")
    # one that is not a number is in no range
    if not all(0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1):
        raise UserError(f"shares must be in [0, 1] and sum to 1, got {_listed(shares)}")
    first, *others = networks
    for other in others:
        if _conventions(other) != _conventions(first):
            raise UserError(
                "a mean takes weights of one kind, got "
                f"{_conventions(first)} and {_conventions(other)}"
            )
    mean = copy.deepcopy(first)
    states = [network.state_dict() for network in networks]
    for name, value in mean.state_dict().items():
        value.copy_(sum(share * state[name] for share, state in zip(shares, states, strict=True)))
    if isinstance(mean, Jorder):  # neither is that of the mean
        mean.dry_threshold, mean.weights_file = 0.0, None
    return mean


def _conventions(network: Jorder | DeveilNetwork) -> str:
    """What weights of one name may differ in besides their values; see `Jorder`."""
    if isinstance(network, DeveilNetwork):
        return network.name
    gate = "gated" if network.gated else "not gated"
    return (
        f"{network.name} ({network.label_convention} labels, "
        f"input scale {network.input_scale:g}, {gate})"
    )


def _listed(shares: Sequence[float]) -> str:
    return " + ".join(f"{share:g}" for share in shares) + f" = {sum(shares):g}"


@command
def main(arguments: list[str]) -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(
        prog="python -m training average",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", nargs="+", help="safetensors files", metavar="WEIGHTS")
    parser.add_argument("--shares", nargs="+", type=float, help="of each file; default: equal ones")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--model", default="jorder_e_lite", help="network of the weights")
    args = parser.parse_args(arguments)
    networks = [load_network(args.model, path) for path in args.weights]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(average(networks, args.shares), args.out, torch.float16)
    print(f"Wrote {args.out}")
