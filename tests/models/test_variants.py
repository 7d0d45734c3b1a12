import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from jorder_preproc.models import build_model, get_variant, list_models

SIDE = 16


@pytest.mark.parametrize("name", list_models())
def test_table_gives_the_parameters_and_macs_of_the_network(name):
    network = build_model(name)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, SIDE, SIDE))
    counted = {
        "parameters": sum(p.numel() for p in network.parameters()),
        # a multiply-accumulate is two floating-point operations
        "macs_per_pixel": counter.get_total_flops() / 2 / SIDE**2,
    }
    variant = get_variant(name)
    in_table = {key: getattr(variant, key) for key in counted}
    assert in_table == counted, f"write into the row {name!r} of VARIANTS: {counted}"


def test_released_networks_have_the_published_sizes():
    assert get_variant("jorder_e_practical").parameters == 406_784
    assert get_variant("jorder_e_practical").macs_per_pixel == pytest.approx(0.405e6, rel=2e-3)
    assert get_variant("jorder_e").parameters == pytest.approx(4.17e6, rel=1e-3)
    assert get_variant("jorder_e").macs_per_pixel == pytest.approx(4.16e6, rel=1e-3)


def test_models_are_listed_in_the_order_of_the_paper():
    assert list_models() == [
        "jorder_minus",
        "jorder",
        "jorder_r",
        "jorder_e",
        "jorder_e_practical",
        "jorder_e_lite",
    ]


def test_unknown_model_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown model 'jorder_x'; choose from .*jorder_e_lite"):
        get_variant("jorder_x")
