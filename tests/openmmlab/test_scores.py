"""Our scores from records are those of mmdet and mmseg."""

import functools

import mmdet.evaluation.functional.mean_ap as mmdet_ap
import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from evaluation.metrics import detection, segmentation
from tests.evaluation.metrics.records import random_detections


def det_sample(record):
    def instances(boxes, labels, **more):
        return InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels), **more)

    ignored = record["target_ignored"]
    target_boxes, target_labels = record["target_boxes"], record["target_labels"]
    sample = DetDataSample()
    sample.gt_instances = instances(target_boxes[~ignored], target_labels[~ignored])
    sample.ignored_instances = instances(target_boxes[ignored], target_labels[ignored])
    scores = torch.from_numpy(record["scores"])
    sample.pred_instances = instances(record["boxes"], record["labels"], scores=scores)
    return sample.to_dict()


@pytest.mark.parametrize("scores", [None, 4])
@pytest.mark.parametrize("seed", range(3))
def test_map_is_vocmetrics(seed, scores, monkeypatch):
    # mmdet leaves the order of equal scores to NumPy's default sort, which has none
    monkeypatch.setattr(mmdet_ap.np, "argsort", functools.partial(np.argsort, kind="stable"))
    records = random_detections(np.random.default_rng(seed), 40, 4, scores)
    result = detection.score(records, 4)
    metric = VOCMetric(iou_thrs=0.5, eval_mode="11points")
    metric.dataset_meta = {"classes": tuple("abcd"), "dataset_type": "VOC2007"}
    metric.process({}, [det_sample(record) for record in records])
    # its table would name the 20 classes
    monkeypatch.setattr(mmdet_ap, "print_map_summary", lambda *_, **__: None)
    expected = metric.evaluate(len(records))
    assert 0.05 < result.metrics["mAP"] < 0.95
    assert result.metrics["mAP"] == pytest.approx(expected["pascal_voc/mAP"], abs=1e-6)


def test_ap_of_each_class_is_eval_maps():
    records = random_detections(np.random.default_rng(9), 40, 4)
    found, true = [], []
    for record in records:
        ranked = np.hstack([record["boxes"], record["scores"][:, None]])
        found.append([ranked[record["labels"] == label] for label in range(4)])
        ignored = record["target_ignored"]
        true.append(
            {
                "bboxes": record["target_boxes"][~ignored],
                "labels": record["target_labels"][~ignored],
                "bboxes_ignore": record["target_boxes"][ignored],
                "labels_ignore": record["target_labels"][ignored],
            }
        )
    _, classes = mmdet_ap.eval_map(
        found, true, logger="silent", use_legacy_coordinate=True, eval_mode="11points"
    )
    expected = [float(c["ap"]) if c["num_gts"] else np.nan for c in classes]
    values = detection.score(records, 4).class_values
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert np.isnan(values[3])


def test_miou_is_ioumetrics():
    rng = np.random.default_rng(0)
    samples, records = [], []
    for _ in range(5):
        # class 5 is nowhere, class 4 only ever said
        label = rng.integers(0, 4, (30, 40))
        said = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 5, label.shape))
        label[rng.random(label.shape) < 0.1] = 255
        counted = label != 255
        hits = np.bincount(label[counted & (label == said)], minlength=6)
        labels, predictions = (np.bincount(x[counted], minlength=6) for x in (label, said))
        areas = np.stack([hits, labels + predictions - hits, predictions, labels])
        records.append({"areas": areas})
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(label)[None])
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(said)[None])
        samples.append(sample.to_dict())
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": tuple("abcdef")}
    metric.process({}, samples)
    expected = metric.evaluate(len(samples))
    result = segmentation.score(records, 6)
    assert list(result.metrics) == ["mIoU", "aAcc", "mAcc"]
    for name, value in result.metrics.items():
        # rounded to hundredths of a percent there
        assert 100 * value == pytest.approx(expected[name], abs=0.005001)
    totals = [torch.from_numpy(x) for x in np.sum([r["areas"] for r in records], 0)]
    iou = IoUMetric.total_area_to_metrics(*totals)["IoU"]
    np.testing.assert_allclose(result.class_values, iou, rtol=1e-6)
