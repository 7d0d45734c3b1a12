import dataclasses
import json
import math
from typing import get_args

import numpy as np
import pytest

from evaluation.report.paper_numbers import paper_rows
from evaluation.report.schema import Derainer, Origin, Sample, Task, from_json, to_json
from tests.evaluation.report.example import classification, detection, segmentation, with_samples


def as_text(results):
    """All values exactly, NaN included, which is not equal to itself."""
    return repr([dataclasses.asdict(result) for result in results])


@pytest.fixture
def document():
    return json.loads(to_json([classification(4)]))["results"][0]


def test_one_result_comes_back_exactly(tmp_path):
    results = [with_samples(classification(), tmp_path)]
    text = to_json(results)
    assert as_text(from_json(text)) == as_text(results)
    assert to_json(from_json(text)) == text


def test_several_results_come_back_exactly():
    results = [classification(), segmentation(), detection()]
    assert as_text(from_json(to_json(results))) == as_text(results)


def test_the_file_holds_the_agreed_keys(document):
    assert list(document["metrics"]) == ["top-1", "top-5", "top-10"]
    top1 = document["metrics"]["top-1"]
    assert top1["clean"] == 0.724
    assert top1["interval"] == pytest.approx([0.8002, 0.8752], abs=1e-4)
    assert top1["intervals"]["derained"] == pytest.approx([0.66541, 0.69541])
    assert document["derainer"] == {
        "name": "jorder_e_lite",
        "weights": None,
        "where": "pipeline",
        "cache": None,
        "deveil": False,
        "deveil_weights": None,
        "dry": "leave",
        "backend": "torch",
        "precision": "float32",
    }
    assert document["derainer_sha256"] == "ab" * 32
    assert len(json.loads(to_json([classification(4), detection()]))["results"]) == 2


def test_deveil_comes_back_exactly():
    example = classification(4)
    for deveil, file in ((True, None), ("auto", "veil.safetensors")):
        derainer = Derainer(deveil=deveil, deveil_weights=file)
        results = [dataclasses.replace(example, derainer=derainer, deveil_sha256="cd" * 32)]
        assert as_text(from_json(to_json(results))) == as_text(results)


def test_nan_is_null(document):
    assert "NaN" not in json.dumps(document)
    assert document["classes"]["rows"][3]["clean"] is None
    dry = dataclasses.replace(
        classification(4).metrics["top-1"], recovery=math.nan, interval=(math.nan, math.nan)
    )
    text = to_json([dataclasses.replace(classification(4), metrics={"top-1": dry})])
    (plain,) = json.loads(text)["results"]
    assert plain["metrics"]["top-1"]["recovery"] is None
    assert plain["metrics"]["top-1"]["interval"] == [None, None]
    (back,) = from_json(text)
    assert math.isnan(back.metrics["top-1"].recovery)
    assert all(map(math.isnan, back.metrics["top-1"].interval))


def test_numpy_numbers_are_numbers(document):
    example = classification(4)
    metric = dataclasses.replace(example.metrics["top-1"], clean=np.float64(0.724))
    images = dataclasses.replace(example.dataset, images=np.int64(50000))
    metrics = {**example.metrics, "top-1": metric}
    numpy = dataclasses.replace(example, metrics=metrics, dataset=images)
    assert json.loads(to_json([numpy]))["results"] == [document]


def set_key(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["dataset", "images"], "many", r"dataset\.images: must be a valid integer, got 'many'"),
        (["dataset", "whole"], 1, r"dataset\.whole: must be a valid boolean, got '1'"),
        (["rain", "seed"], True, r"rain\.seed: must be a valid integer, got 'True'"),
        (["metrics", "top-5", "clean"], "x", r"metrics\.top-5\.clean: must be a valid number"),
        (["metrics", "top-5", "interval"], [1], r"top-5\.interval\[1\] is missing"),
        (["metrics"], [], r"results\[0\]\.metrics: must be an object"),
        (["classes", "rows"], {}, r"classes\.rows: must be a valid array"),
        (["classes", "rows", 2, "name"], None, r"classes\.rows\[2\]\.name: must be a valid string"),
        (["extra"], 1, r"the key results\[0\]\.extra is unknown.*another version"),
        (["task"], "guessing", r"task: must be 'classification', .*'guessing'"),
        (["derainer", "where"], "cloud", r"derainer\.where: must be 'pipeline' or 'batch', got"),
        (["derainer", "deveil"], "maybe", r"derainer\.deveil: must be False, True or 'auto'"),
        (["derainer", "dry"], "keep", r"derainer\.dry: must be 'leave' or 'derain', got 'keep'"),
        (["derainer", "deveil"], True, r"\[0\]: deveil_sha256 must be given with deveiling"),
        (["deveil_sha256"], "cd", r"deveil_sha256 must be given .* and only there"),
        (
            ["metrics", "top-1", "intervals"],
            {"wet": [0, 1]},
            r"intervals\.wet: must be one of clean",
        ),
        (["metrics"], {}, r"results\[0\]\.metrics: .* at least 1 item"),
    ],
)
def test_a_damaged_file_is_named(document, path, value, message):
    set_key(document, path, value)
    with pytest.raises(ValueError, match=message):
        from_json(json.dumps({"results": [document]}))


def test_a_missing_key_is_named(document):
    del document["metrics"]["top-1"]["harm"]
    (whole,) = json.loads(to_json([detection()]))["results"]
    with pytest.raises(ValueError, match=r"the key results\[0\]\.metrics\.top-1\.harm is missing"):
        from_json(json.dumps({"results": [document]}))
    with pytest.raises(ValueError, match=r"results\[1\]\.metrics\.top-1\.harm is missing"):
        from_json(json.dumps({"results": [whole, document]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (to_json([detection()])[:-100], "must be JSON, but .*cut short"),
        ("[1, 2]", r"the key \(top\): must be an object"),
        ('{"results": []}', "the key results: .* at least 1 item"),
        ('{"accuracy": 0.7}', "the key results is missing"),
    ],
)
def test_a_foreign_file_is_told(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(text)


def test_what_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="at least one table"):
        to_json([])
    with pytest.raises(ValueError, match=r"images_per_second\.clean\s*.*must be finite"):
        dataclasses.replace(detection(), images_per_second={"clean": math.inf})
    with pytest.raises(ValueError, match=r"gpu\s*.*not a valid JSON value"):
        Origin(1, "", "", {}, {"gpu": object})
    with pytest.raises(ValueError, match=r"recovery\s*.*should be a valid number"):
        dataclasses.replace(detection().metrics["mAP"], recovery=None)


def test_wrong_conditions_and_places_are_refused():
    with pytest.raises(ValueError, match="should be 'pipeline' or 'batch'"):
        Derainer(where="elsewhere")
    with pytest.raises(ValueError, match="should be 'leave' or 'derain'"):
        Derainer(dry="keep")
    files = dict.fromkeys(("clean", "rainy", "derained"), "")
    with pytest.raises(ValueError, match=r"wet\.\[key\]\s*.*must be one of clean, rainy"):
        Sample("1.png", "cat", files, {}, {"wet": 1.0})
    with pytest.raises(ValueError, match="images must be of clean, rainy, derained, got clean"):
        Sample("1.png", "cat", {"clean": "1.png"}, {})
    with pytest.raises(ValueError, match=r"wet\.\[key\]\s*.*must be one of clean, rainy"):
        Sample("1.png", "cat", files, {"wet": "cat"})
    with pytest.raises(ValueError, match=r"images_per_second\.wet\.\[key\]"):
        dataclasses.replace(detection(), images_per_second={"wet": 1.0})


def test_recoveries_of_the_paper():
    """As worked out by hand from its Tables 4 and 5: (derained - rainy) / (clean - rainy)."""
    recoveries = {row.metric: row.recovery for task in get_args(Task) for row in paper_rows(task)}
    expected = {
        "top-1": 17.36 / 22.62,
        "top-5": 16.07 / 19.86,
        "top-10": 13.61 / 16.41,
        "mIoU": 10.71 / 13.88,
        "aAcc": 9.66 / 11.68,
        "mAP": 8.63 / 12.59,
    }
    assert recoveries == pytest.approx(expected, abs=1e-12)
    assert all(
        row.rainy < row.derained < row.clean for t in get_args(Task) for row in paper_rows(t)
    )
