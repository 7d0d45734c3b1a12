import math

import pytest

from evaluation.downstream.published_scores import (
    REFERENCES,
    SET_SIZES,
    CleanScoreError,
    check_clean,
)

VGG = "classification", "vgg19.tv_in1k"


def test_table():
    assert SET_SIZES == {"classification": 50000, "segmentation": 2000, "detection": 4952}
    assert {task for task, _ in REFERENCES} == set(SET_SIZES)
    assert REFERENCES[VGG] == ({"top-1": 0.724, "top-5": 0.90878}, "timm")
    assert REFERENCES["detection", "ssd300_voc0712"] == ({"mAP": 0.765}, "mmdet")
    assert ("classification", "ssd300_voc0712") not in REFERENCES


@pytest.mark.parametrize(("task", "model"), REFERENCES)
@pytest.mark.parametrize("shift", [-0.003, 0, 0.003])
def test_published_scores_pass(task, model, shift):
    metrics = {name: value + shift for name, value in REFERENCES[task, model][0].items()}
    check_clean(task, model, SET_SIZES[task], metrics)


@pytest.mark.parametrize(("task", "model"), REFERENCES)
@pytest.mark.parametrize("shift", [-0.0031, 0.0031, math.nan])
def test_other_scores_stop(task, model, shift):
    metrics = {name: value + shift for name, value in REFERENCES[task, model][0].items()}
    with pytest.raises(CleanScoreError, match="Usual causes"):
        check_clean(task, model, SET_SIZES[task], metrics)


def test_message():
    message = r"top-1 is 12.34 %, published 72.40 % \(timm, 50,000 images\).* order of the sorted"
    with pytest.raises(CleanScoreError, match=message) as caught:
        check_clean(*VGG, 50_000, {"top-1": 0.1234, "top-5": 0.90878})
    assert "top-5" not in str(caught.value)
    with pytest.raises(CleanScoreError, match="top-5 is nan %, published 90.88 %"):
        check_clean(*VGG, 50_000, {"top-1": 0.724})


def test_unknown_models_and_parts_pass():
    check_clean(*VGG, 49_999, {"top-1": 0.1})
    check_clean("classification", "resnet50.a1_in1k", 50_000, {"top-1": 0.1})
