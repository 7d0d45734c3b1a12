import numpy as np
import pytest
from scipy.stats import binomtest

from evaluation.metrics import statistics
from evaluation.metrics.statistics import UNDEFINED, bootstrap, mcnemar, recovery


def mean_of(values):
    return lambda counts: counts @ values / counts.sum(1)


def measures(rng, images, rainy=0.5):
    """Of images that are right or wrong, mostly the same ones under all conditions."""
    clean = rng.random(images) < 0.9
    right = {
        "clean": clean,
        "rainy": clean & (rng.random(images) < rainy),
        "derained": clean & (rng.random(images) < 0.9),
        "clean_derained": clean ^ (rng.random(images) < 0.01),
    }
    return {name: flags.astype(float) for name, flags in right.items()}


def test_recovery():
    # the paper's VGG-19 on ImageNet: 76.7 %
    assert recovery(0.6615, 0.2, 0.6615) == 1
    assert recovery(0.8, 0.4, 0.6) == pytest.approx(0.5)
    assert recovery(0.8, 0.4, 0.2) == pytest.approx(-0.5)
    many = recovery([0.8, 0.8, 0.5, 0.5], [0.4, 0.8, 0.6, np.nan], [0.7, 0.8, 0.6, 0.5])
    np.testing.assert_allclose(many, [0.75, np.nan, np.nan, np.nan])


def test_bootstrap_against_a_loop():
    values = measures(np.random.default_rng(0), 60)
    result = bootstrap({c: mean_of(v) for c, v in values.items()}, 60, repeats=400, seed=3)
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(400):
        drawn = rng.integers(60, size=60)
        means = {c: v[drawn].mean() for c, v in values.items()}
        back = (means["derained"] - means["rainy"]) / (means["clean"] - means["rainy"])
        rows.append([*means.values(), back, means["clean_derained"] - means["clean"]])
    expected = np.quantile(rows, (0.025, 0.975), axis=0).T
    actual = [*result.conditions.values(), result.recovery, result.harm]
    assert list(result.conditions) == ["clean", "rainy", "derained", "clean_derained"]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_bootstrap_does_not_depend_on_the_size_of_its_chunks(monkeypatch):
    values = measures(np.random.default_rng(0), 50)
    arguments = {c: mean_of(v) for c, v in values.items()}, 50
    whole = bootstrap(*arguments, repeats=101)
    assert bootstrap(*arguments, repeats=101) == whole
    assert bootstrap(*arguments, repeats=101, seed=1) != whole
    monkeypatch.setattr(statistics, "_COUNTS_AT_ONCE", 350)
    assert bootstrap(*arguments, repeats=101) == whole


def test_pairs_are_kept():
    """Independent resamples of two equal runs would give harm of some points."""
    values = (np.arange(100) % 2).astype(float)
    result = bootstrap(dict.fromkeys(statistics.CONDITIONS, mean_of(values)), 100, repeats=200)
    assert result.harm == (0.0, 0.0)
    low, high = result.conditions["clean"]
    assert low < 0.45 and high > 0.55
    assert result.recovery == UNDEFINED  # rain took nothing


def test_recovery_has_no_interval_where_the_loss_may_be_none():
    values = measures(np.random.default_rng(0), 200, rainy=0.99)
    result = bootstrap({c: mean_of(v) for c, v in values.items()}, 200, repeats=400)
    assert result.recovery == UNDEFINED
    assert np.isfinite(list(result.conditions.values())).all()


@pytest.mark.parametrize(
    ("undefined", "expected"), [(0, (1.025, 39.975)), (1, (0.025, 39.975)), (2, UNDEFINED)]
)
def test_resamples_without_a_recovery_are_unbounded(undefined, expected):
    """Of 42 values in order the ends are at 0.025 * 41 = 1.025 and 39.975, counted from 0."""
    rainy = np.where(np.arange(42) >= 42 - undefined, 1.0, 0.0)  # as good as clean
    arrays = {"clean": np.ones(42), "rainy": rainy, "derained": np.arange(42.0)}
    arrays["clean_derained"] = arrays["clean"]
    measures = {name: lambda _, values=values: values for name, values in arrays.items()}
    found = bootstrap(measures, 1, repeats=42).recovery
    assert found == pytest.approx(expected, nan_ok=True)


def test_intervals_cover_the_truth():
    """95 % of the intervals of a coin's bias hold it, up to chance."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        throws = mean_of((rng.random(200) < 0.7).astype(float))
        result = bootstrap(dict.fromkeys(statistics.CONDITIONS, throws), 200, 200, seed)
        low, high = result.conditions["clean"]
        covered += low <= 0.7 <= high
    assert 180 <= covered <= 198


@pytest.mark.parametrize("only", [(0, 0), (0, 1), (5, 5), (3, 12), (12, 3), (40, 90)])
def test_mcnemar_matches_scipy(only):
    first = np.repeat([True, False, True, False], [only[0], only[1], 7, 4])
    second = np.repeat([False, True, True, False], [only[0], only[1], 7, 4])
    result = mcnemar(first, second)
    assert result[:2] == only
    expected = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    assert result.p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("only_first", [24_700, 25_000, 24_000])
def test_mcnemar_on_the_whole_of_imagenet(only_first):
    first = np.arange(50_000) < only_first
    p_value = mcnemar(first, ~first).p_value
    assert p_value == pytest.approx(binomtest(only_first, 50_000).pvalue, rel=1e-6)


def test_mcnemar_of_runs_that_differ_everywhere():
    assert mcnemar(np.ones(50_000, bool), np.zeros(50_000, bool)) == (50_000, 0, 0.0)
