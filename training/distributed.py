"""Joining the other processes of a launcher, for training and evaluation."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from mmengine.device import get_device
from mmengine.dist import init_dist

from jorder_preproc.errors import UserError

_LONGEST_WAIT_S = 24 * 3600
"""For the slowest process, and for what the first does alone; a launcher ends all when one dies."""


def join_processes(launcher: str, command: str) -> None:
    """Join the other processes, over NCCL on GPUs and over gloo on CPUs.

    Args:
        launcher: `none`, `pytorch`, `slurm` or `mpi`.
        command: what follows `-m`, for messages.

    Raises:
        UserError: `pytorch` without torchrun, or another launcher without a GPU.
    """
    if launcher == "none":
        return
    if launcher == "pytorch" and "RANK" not in os.environ:
        raise UserError(
            "--launcher pytorch is for torchrun: "
            f"torchrun --nproc-per-node N -m {command} --launcher pytorch"
        )
    if get_device() == "cuda":
        init_dist(launcher, backend="nccl", timeout=_LONGEST_WAIT_S)
    elif launcher == "pytorch":  # MMEngine's init_dist needs a GPU
        torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=_LONGEST_WAIT_S))
    else:
        raise UserError(f"--launcher {launcher} needs GPUs; on CPUs use torchrun and pytorch")
