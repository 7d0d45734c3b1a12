import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from evaluation.metrics import SCORE, classification


def records(targets, scores, kept=10):
    order = np.argsort(-scores, axis=1)[:, :kept]
    return [{"target": np.array(t), "labels": row} for t, row in zip(targets, order, strict=True)]


@pytest.fixture
def said():
    """Targets (300,) of 20 classes, the last one never; scores (300, 20), right rather often."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 19, 300)
    scores = rng.random((300, 20))
    scores[np.arange(300), targets] += 0.4
    return targets, scores


def test_top_k_matches_sklearn(said):
    targets, scores = said
    result = SCORE["classification"](records(targets, scores), 20)
    assert list(result.metrics) == ["top-1", "top-5", "top-10"]
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(targets, scores, k=k, labels=range(20))
        assert result.metrics[f"top-{k}"] == pytest.approx(expected, abs=1e-12)


def test_resamples_match_sklearn_on_repeated_images(said):
    targets, scores = said
    result = classification.score(records(targets, scores), 20)
    counts = np.random.default_rng(1).multinomial(300, np.full(300, 1 / 300), size=3)
    for k in (1, 5, 10):
        expected = [
            top_k_accuracy_score(targets.repeat(c), scores.repeat(c, 0), k=k, labels=range(20))
            for c in counts
        ]
        np.testing.assert_allclose(result.measures[f"top-{k}"](counts), expected, rtol=1e-12)


def test_classes_and_flags(said):
    targets, scores = said
    result = classification.score(records(targets, scores), 20)
    right = scores.argmax(1) == targets
    assert result.class_metric == "top-1"
    for label in range(19):
        assert result.class_values[label] == pytest.approx(right[targets == label].mean())
    assert np.isnan(result.class_values[19])
    np.testing.assert_array_equal(classification.correct(records(targets, scores)), right)


@pytest.mark.parametrize(
    ("classes", "names"), [(2, ["top-1"]), (5, ["top-1"]), (6, ["top-1", "top-5"])]
)
def test_only_ranks_below_the_number_of_classes(classes, names):
    result = classification.score(records([0, 1], np.eye(2, classes)), classes)
    assert list(result.metrics) == names
    assert result.metrics["top-1"] == 1


def test_refuses():
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        classification.score(records([0], np.eye(1, 3)), 1)
