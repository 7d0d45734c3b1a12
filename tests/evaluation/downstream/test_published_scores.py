import math

import pytest

from evaluation.downstream.published_scores import (
    REFERENCES,
    SET_SIZES,
    CleanScoreError,
    check_clean,
    find_reference,
)

VGG = "classification", "vgg19.tv_in1k"


def test_table():
    assert SET_SIZES == {"classification": 50000, "segmentation": 2000, "detection": 4952}
    assert {reference.task for reference in REFERENCES} == set(SET_SIZES)
    assert find_reference(*VGG).metrics == {"top-1": 0.724, "top-5": 0.90878}
    assert find_reference("detection", "ssd300_voc0712").metrics == {"mAP": 0.765}
    assert find_reference("classification", "ssd300_voc0712") is None


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.model)
@pytest.mark.parametrize("shift", [-0.003, 0, 0.003])
def test_published_scores_pass(reference, shift):
    metrics = {name: value + shift for name, value in reference.metrics.items()}
    check_clean(reference.task, reference.model, SET_SIZES[reference.task], metrics)


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.model)
@pytest.mark.parametrize("shift", [-0.0031, 0.0031, math.nan])
def test_other_scores_stop(reference, shift):
    metrics = {name: value + shift for name, value in reference.metrics.items()}
    with pytest.raises(CleanScoreError, match="Usual causes"):
        check_clean(reference.task, reference.model, SET_SIZES[reference.task], metrics)


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
