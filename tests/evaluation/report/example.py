"""Made-up results for the tests of the report."""

import math
from dataclasses import replace

import numpy as np
from PIL import Image

from evaluation.metrics.statistics import UNDEFINED
from evaluation.report.paper_numbers import paper_rows
from evaluation.report.schema import (
    Classes,
    ClassRow,
    Dataset,
    Derainer,
    Metric,
    Model,
    Origin,
    PairedTest,
    Rain,
    Results,
    Sample,
)

MAIN = {"classification": "top-1", "segmentation": "mIoU", "detection": "mAP"}


def metric(clean, rainy, derained, clean_derained, spread=0.015):
    values = dict(clean=clean, rainy=rainy, derained=derained, clean_derained=clean_derained)
    recovery = (derained - rainy) / (clean - rainy) if clean > rainy else math.nan
    harm = clean_derained - clean
    return Metric(
        **values,
        recovery=recovery,
        interval=UNDEFINED if math.isnan(recovery) else (recovery - 0.04, recovery + 0.035),
        intervals={name: (value - spread, value + spread) for name, value in values.items()},
        harm=harm,
        harm_interval=(harm - 0.004, harm + 0.003),
    )


def classification(classes=40):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(classes):
        clean = rng.uniform(0.6, 0.95)
        rainy = clean - rng.uniform(0.0, 0.5)
        derained = rainy + rng.uniform(0.6, 1.0) * (clean - rainy)
        rows.append(ClassRow(f"class {i}", clean, rainy, derained, clean - 0.004))
    rows[3] = ClassRow("never seen", *[math.nan] * 4)
    return Results(
        task="classification",
        title="vgg19.tv_in1k on ImageNet <validation>",
        command="python -m evaluation classification --data imagenet/val --preset heavy",
        dataset=Dataset("ImageNet validation", "/data/imagenet/val", 50000, True),
        model=Model("vgg19.tv_in1k", None, None),
        rain=Rain("heavy", 0),
        derainer=Derainer(),
        derainer_sha256="ab" * 32,
        deveil_sha256=None,
        metrics={
            "top-1": metric(0.724, 0.4512, 0.68041, 0.7228),
            "top-5": metric(0.90878, 0.69, 0.875, 0.9081),
            "top-10": metric(0.945, 0.77, 0.92, 0.945),
        },
        classes=Classes("top-1", tuple(rows)),
        mcnemar=PairedTest(12000, 531, 3.2e-18),
        images_per_second={"clean": 61.2, "rainy": 31.0, "derained": 12.25, "clean_derained": 14.0},
        paper=paper_rows("classification"),
        origins=(
            Origin(
                predictions=200_000,
                first="2025-01-02T03:04:05+00:00",
                last="2025-01-02T06:07:08+00:00",
                versions={"torch": "2.13.0", "timm": "1.0.31"},
                machine={"cpu": "two cores", "gpu": None, "threads": [1, 2]},
            ),
        ),
    )


def segmentation():
    return replace(
        classification(12),
        task="segmentation",
        title="PSPNet-R50 on ADE20K",
        metrics={
            "mIoU": metric(0.4113, 0.2512, 0.3731, 0.4101),
            "aAcc": metric(0.8, 0.65, 0.77, 0.799),
            "mAcc": metric(0.52, 0.33, 0.48, 0.519),
        },
        mcnemar=None,
        paper=paper_rows("segmentation"),
    )


def detection():
    return replace(
        classification(20),
        task="detection",
        title="Faster R-CNN R50 on VOC 2007",
        metrics={"mAP": metric(0.795, 0.512, 0.741, 0.7912)},
        mcnemar=None,
        paper=paper_rows("detection"),
    )


def with_samples(results, folder, size=(120, 90), predictions=None):
    """The same with a sample whose images, of plain colours, lie in `folder`/samples."""
    (folder / "samples").mkdir(exist_ok=True)
    images = {}
    for condition, colour in (("clean", "green"), ("rainy", "blue"), ("derained", "red")):
        images[condition] = f"samples/{results.task}_{condition}.png"
        Image.new("RGB", size, colour).save(folder / images[condition])
    predictions = predictions or {"clean": "tench", "rainy": "umbrella", "derained": "tench"}
    sample = Sample("n01440764/7.JPEG", "tench", images, predictions)
    return replace(results, samples=(sample,))
