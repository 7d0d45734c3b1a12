"""A short run of `python -m reliability soak`, and what it finds."""

import pytest

from reliability import soak
from reliability.soak import Usage


@pytest.mark.parametrize("way", soak.WAYS)
def test_short_run(way):
    """Too short for the memory; descriptors show a leak at once."""
    steps = []
    usages = soak.run(way, 160, lambda: steps.append(1))
    assert len(steps) == 40
    assert usages.keys() == {"main", "worker 1", "worker 2"}
    for process, usage in usages.items():
        before, after = usage.descriptors_at_least
        assert 0 < after <= before, process
        assert min(usage.memory) > 1e7


def test_growth_is_that_behind_the_warm_up():
    steps = range(1000)
    warm = Usage([min(1_000_000, 10_000 * k) + k % 7 for k in steps], [20 + k % 3 for k in steps])
    assert abs(warm.growth) < 1e-4
    assert warm.descriptors_at_least == (20, 20)
    leaking = Usage([1_000_000 + 50 * k for k in steps], [20 + k // 50 for k in steps])
    assert leaking.growth > soak.LARGEST_GROWTH
    assert leaking.descriptors_at_least == (25, 37)
