"""The networks that the paper's ablations compare (Sec. 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.baselines import BASELINES

RECURRENCES = (1, 2, 3, 4, 5)
"""Numbers K of blocks; the paper's go to about 9."""

LOSS = {"distance": "l2", "streak_weight": 0.01, "mask_weight": 0.001, "gated": False}
"""Arguments of `DerainTraining` for all rows, unless their own differ."""

_RAW_LOSS = {"streak_weight": 0.0, "mask_weight": 0.0}  # it predicts no S and R
_COARSE_TO_FINE_L1 = {"coarse_to_fine": True, "distance": "l1"}
_ONE_PATH = ((1, 1),)
_RESIDUAL = {"stages": 2, "residual_stages": True}


@dataclass(frozen=True)
class Network:
    """Differences of a row's network and loss from JORDER (Sec. 4) and its loss (Eq. 6).

    Attributes:
        variant: fields of `Variant`.
        loss: arguments of `DerainTraining`.
        depth: factor on the number of blocks; `blocks` in `variant` overrides it.
        baseline: it is this network of `training.baselines`, and nothing of JORDER.
    """

    variant: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 1
    baseline: bool = False


NETWORKS: dict[str, Network] = {
    "RSB": Network({"paths": _ONE_PATH}),
    "PAR": Network({"paths": _ONE_PATH, "order": "par"}),
    "SRB": Network({"paths": _ONE_PATH, "order": "srb"}),
    # four layers: encoder, the two of one block, residual
    "RAW": Network({"paths": _ONE_PATH, "order": "raw", "blocks": 1}, _RAW_LOSS),
    "RAW-deep": Network({"paths": _ONE_PATH, "order": "raw"}, _RAW_LOSS),
    "RSBD": Network(),
    "PARD": Network({"order": "par"}),
    # a block has one path of the three
    "sequential": Network({"context": "sequential"}, depth=3),
    "JPS": Network({"widening": "pool"}),
    "JST": Network({"widening": "stride"}),
    "JORDER-R": Network({"stages": 2}),
    "RTL": Network(_RESIDUAL),
    "CF-MSL": Network(_RESIDUAL, {"coarse_to_fine": True}),
    "L1": Network(_RESIDUAL, _COARSE_TO_FINE_L1),
    **{f"K{k}": Network({**_RESIDUAL, "blocks": k}, _COARSE_TO_FINE_L1) for k in RECURRENCES},
    **{name: Network(baseline=True) for name in BASELINES},
}
