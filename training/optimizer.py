"""AdaMuon, for configs: updates of weight matrices are made orthogonal, then scaled as Adam's are.

PyTorch's Muon takes no convolutions, timm's does.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import OPTIMIZERS
from timm.optim import Muon


@OPTIMIZERS.register_module("AdaMuon")
def build_adamuon(params: Any, **settings: Any) -> Muon:
    """timm's AdaMuon (arXiv 2507.11005); biases, norms and depth-wise convolutions use AdamW."""
    return Muon(params, algo="adamuon", **settings)
