"""The rank product against cases worked by hand and a slow loop."""

import itertools
import json
import math

import numpy as np
import pytest
from PIL import Image

from evaluation.user_study.page import write_study
from evaluation.user_study.rank_product import Votes, rank, rank_product, read_votes


def votes_of(methods, images, preferences):
    """Votes of one participant, from {image: [(preferred, other), ...]}."""
    wins = np.zeros((1, len(images), len(methods), len(methods)), np.int64)
    for image, pairs in preferences.items():
        for preferred, other in pairs:
            wins[0, images.index(image), methods.index(preferred), methods.index(other)] += 1
    return Votes(methods, images, wins)


def test_by_hand():
    votes = votes_of(
        ["a", "b", "c"],
        ["x", "y"],
        {
            "x": [("a", "b"), ("a", "c"), ("b", "c")],  # ranks 1, 2, 3
            "y": [("b", "a"), ("c", "b"), ("a", "c")],  # a circle: all share rank 2
        },
    )
    expected = [math.sqrt(1 * 2), math.sqrt(2 * 2), math.sqrt(3 * 2)]
    np.testing.assert_allclose(rank_product(votes.wins.sum(0)), expected, rtol=1e-12)
    rows = rank(votes, repeats=10)
    assert [row.method for row in rows] == ["a", "b", "c"]
    assert [row.preferred for row in rows] == [3 / 4, 2 / 4, 1 / 4]


def test_the_best_everywhere_has_1_and_no_doubt():
    everywhere = [("a", "b"), ("a", "c"), ("b", "c")]
    votes = votes_of(["a", "b", "c"], ["x", "y", "z"], dict.fromkeys("xyz", everywhere))
    best, *_, worst = rank(votes, repeats=50)
    assert (best.method, best.rank_product, best.interval) == ("a", 1, (1, 1))
    assert (worst.method, worst.rank_product) == ("c", pytest.approx(3, rel=1e-12))


def test_like_a_slow_loop():
    rng = np.random.default_rng(0)
    wins = rng.integers(0, 4, (5, 4, 4)) * (1 - np.eye(4, dtype=int))
    products = np.ones(4)
    for image in wins:
        scores = [sum(row) for row in image]
        for k in range(4):
            above = sum(score > scores[k] for score in scores)
            level = sum(score == scores[k] for score in scores)
            products[k] *= above + (level + 1) / 2
    np.testing.assert_allclose(rank_product(wins), products ** (1 / 5), rtol=1e-12)


def test_intervals_widen_with_disagreement_and_repeat_with_the_seed():
    one = [("a", "b")]
    agreed = votes_of(["a", "b"], list("wxyz"), dict.fromkeys("wxyz", one))
    split = votes_of(["a", "b"], list("wxyz"), {"w": one, "x": one, "y": one, "z": [("b", "a")]})
    assert rank(agreed)[0].interval == (1, 1)
    low, high = rank(split)[0].interval
    assert rank(split)[0].rank_product == pytest.approx(2**0.25)
    assert (low, high) == (1, pytest.approx(2**0.75))  # at least 3 of 4 draws are z: 5 %
    assert rank(split) == rank(split, seed=0)


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    for method, name in itertools.product(("ours", "theirs"), ("one", "two")):
        path = tmp_path / method / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(path)
    out = tmp_path / "study"
    key = write_study({m: tmp_path / m for m in ("ours", "theirs")}, out)
    return out, key


def code(table, name):
    return next(k for k, v in table.items() if v == name)


def save(path, key, participant="p", **change):
    ours, theirs = (code(key.methods, name) for name in ("ours", "theirs"))
    vote = {"image": code(key.images, "one"), "left": theirs, "right": ours, "preferred": ours}
    document = {"study": key.study, "participant": participant, "votes": [{**vote, **change}]}
    path.write_text(json.dumps(document))
    return path


def test_files_of_votes_are_counted(study, tmp_path):
    out, key = study
    files = [save(tmp_path / f"{p}.json", key, p) for p in ("p", "q")]
    votes = read_votes(out, files)
    assert (votes.methods, votes.images) == (["ours", "theirs"], ["one", "two"])
    assert votes.wins[:, 0].tolist() == [[[0, 1], [0, 0]]] * 2
    assert not votes.wins[:, 1].any()
    with pytest.raises(ValueError, match="no votes for the image 'two'"):
        rank(votes)


def test_other_files_are_refused(study, tmp_path):
    out, key = study
    good = save(tmp_path / "good.json", key)
    with pytest.raises(ValueError, match=r"no files of votes"):
        read_votes(out, [])
    with pytest.raises(ValueError, match=r"cannot read .*none\.json \(No such file"):
        read_votes(out, [tmp_path / "none.json"])
    with pytest.raises(ValueError, match="of the same participant"):
        read_votes(out, [good, save(tmp_path / "again.json", key)])
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(ValueError, match=r"key\.json is not the key of a study"):
        read_votes(tmp_path, [good])
    for change in ({"preferred": "m9"}, {"left": "x"}, {"image": "i9"}):
        bad = save(tmp_path / "bad.json", key, **change)
        with pytest.raises(ValueError, match=r"bad\.json is not a file of votes of this study"):
            read_votes(out, [bad])
    other = tmp_path / "other.json"
    other.write_text(good.read_text().replace(key.study, "0" * 16))
    with pytest.raises(ValueError, match=f"votes of the study {'0' * 16}, not of {key.study}"):
        read_votes(out, [other])
    other.write_text("{")
    with pytest.raises(ValueError, match=r"other\.json is not JSON"):
        read_votes(out, [other])
