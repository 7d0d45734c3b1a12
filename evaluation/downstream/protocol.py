"""The table of a model on a data set: scores of all conditions, statistics, samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from PIL import Image
from rich.console import Console

from evaluation.datasets.layouts.base import data_name
from evaluation.datasets.subsets import spread
from evaluation.downstream.checkpoints import file_sha256
from evaluation.downstream.conditions import apply_condition, make_transform, weights_sha256
from evaluation.downstream.published_scores import check_clean
from evaluation.downstream.records import RecordStore
from evaluation.downstream.runner import (
    Subject,
    build_dataset,
    data_digest,
    find_unreadable,
    image_path,
    load_image,
    run_condition,
)
from evaluation.metrics import SCORE
from evaluation.metrics.base import Record, Scores
from evaluation.metrics.classification import correct
from evaluation.metrics.coco import coco_ap
from evaluation.metrics.statistics import (
    CONDITIONS,
    UNDEFINED,
    Bootstrap,
    bootstrap,
    mcnemar,
    recovery,
)
from evaluation.report import schema as table
from evaluation.report.overlays import rgb_of_pipeline
from evaluation.report.paper_numbers import paper_rows
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.models import get_variant
from jorder_preproc.openmmlab.images import change_tensor
from jorder_preproc.transforms import JorderDerain

_SHOWN = CONDITIONS[:3]


@dataclass(frozen=True)
class Plan:
    """The settings of a table.

    Attributes:
        task: `classification`, `segmentation` or `detection`.
        model: name of the model, as `check_clean` knows it.
        data: name of the data set; None for that of its folder.
        root: its folder.
        command: as typed.
        out: folder for all output.
        rain, derainer: see `evaluation.report.schema`.
        limit: at most so many images, evenly spread over the data set; None takes all.
        skip_unreadable: leave out images that cannot be read, in all conditions, and count them.
        check_reference: stop where a known model misses its published clean score.
        samples: images to show, evenly spread.
        coco: for detection, COCO's AP too.
    """

    task: table.Task
    model: str
    data: str | None
    root: str
    command: str
    out: Path
    rain: table.Rain
    derainer: table.Derainer
    limit: int | None = None
    skip_unreadable: bool = False
    check_reference: bool = True
    samples: int = 6
    coco: bool = False


def evaluate(
    subject: Subject, plan: Plan, module: ModuleType, console: Console
) -> table.Results | None:
    """Test under all conditions and make the table.

    Every process of a launcher calls this; the first one gets the results, the others None.

    Args:
        subject: model and data set.
        plan: settings.
        module: of the task, with `describe_target`, `describe_prediction` and `draw`.
        console: for progress.

    Raises:
        CleanScoreError: see `check_clean`.
        UnreadableImage: an image cannot be loaded, and they are not to be skipped.
        ValueError: see `run_condition`.
    """
    dataset = build_dataset(subject.cfg)
    classes = tuple(dataset.metainfo["classes"])
    indices = spread(range(len(dataset)), plan.limit)
    unreadable = find_unreadable(dataset, indices, console) if plan.skip_unreadable else set()
    indices = [index for index in indices if index not in unreadable]
    if not indices:
        raise UserError(f"{plan.root} has no image that can be read")
    digest = data_digest(dataset)
    stores: dict[str, RecordStore] = {}
    records: dict[str, list[Record]] = {}
    scores: dict[str, Scores] = {}

    def score(condition: str) -> None:
        # label maps are for samples alone
        records[condition] = stores[condition].load(indices, without=("map",))
        scores[condition] = SCORE[plan.task](records[condition], len(classes))
        if condition == "clean" and plan.check_reference:
            check_clean(plan.task, plan.model, len(indices), scores["clean"].metrics)

    for condition in CONDITIONS:
        stores[condition] = run_condition(
            subject, condition, plan.rain, plan.derainer, digest, indices, plan.out, console
        )
        _in_first_process(partial(score, condition))
    if not is_main_process():
        return None
    data = plan.data or data_name(plan.task, len(dataset), len(classes), plan.root)
    derainer_sha256, deveil_sha256 = weights_sha256(plan.derainer)
    metrics = {}
    with console.status("resampling"):
        for name in scores["clean"].metrics:
            measures = {condition: scores[condition].measures[name] for condition in CONDITIONS}
            values = {condition: scores[condition].metrics[name] for condition in CONDITIONS}
            metrics[name] = _metric(values, bootstrap(measures, len(indices)))
    if plan.coco:
        found = {name: coco_ap(records[name], len(classes)) for name in CONDITIONS}
        for name in found["clean"]:  # without a bootstrap: COCO's evaluation is slow
            values = {condition: found[condition][name] for condition in CONDITIONS}
            metrics[name] = _metric(values, Bootstrap({}, UNDEFINED, UNDEFINED))
    return table.Results(
        task=plan.task,
        title=f"{plan.model} on {data}",
        command=plan.command,
        dataset=table.Dataset(
            name=data,
            root=plan.root,
            images=len(indices),
            whole=len(indices) == len(dataset),
            unreadable=tuple(image_path(dataset, index) for index in sorted(unreadable)),
        ),
        model=table.Model(
            name=plan.model,
            checkpoint=subject.checkpoint,
            sha256=subject.identity.get("weights_sha256")
            if subject.checkpoint is None
            else file_sha256(subject.checkpoint),
        ),
        rain=plan.rain,
        derainer=plan.derainer,
        derainer_sha256=derainer_sha256,
        deveil_sha256=deveil_sha256,
        metrics=metrics,
        classes=_classes(classes, scores),
        mcnemar=table.PairedTest(*mcnemar(correct(records["derained"]), correct(records["rainy"])))
        if plan.task == "classification"
        else None,
        images_per_second={
            name: store.images_per_second
            for name, store in stores.items()
            if store.images_per_second is not None
        },
        paper=paper_rows(plan.task),
        samples=_samples(subject, indices, stores, plan, module, classes),
        origins=_origins(stores, indices),
    )


def _metric(values: Mapping[str, float], sampled: Bootstrap) -> table.Metric:
    return table.Metric(
        **values,
        recovery=recovery(values["clean"], values["rainy"], values["derained"]),
        interval=sampled.recovery,
        intervals=sampled.conditions,
        harm=values["clean_derained"] - values["clean"],
        harm_interval=sampled.harm,
    )


def _classes(classes: Sequence[str], scores: Mapping[str, Scores]) -> table.Classes:
    columns = [scores[condition].class_values for condition in CONDITIONS]
    rows = tuple(
        table.ClassRow(name, *(float(column[number]) for column in columns))
        for number, name in enumerate(classes)
        if not np.isnan(columns[0][number])
    )
    return table.Classes(metric=scores["clean"].class_metric, rows=rows)


def _origins(stores: Mapping[str, RecordStore], indices: Sequence[int]) -> tuple[table.Origin, ...]:
    """Environments of the predictions, with their first and last date."""
    dates: dict[str, list[str]] = {}
    for store in stores.values():
        for origin in store.origins(indices):
            date = origin.pop("date")
            dates.setdefault(json.dumps(origin, sort_keys=True), []).append(date)
    found = [
        table.Origin(len(made), min(made), max(made), **json.loads(origin))
        for origin, made in dates.items()
    ]
    return tuple(sorted(found, key=lambda origin: origin.first))


def _samples(
    subject: Subject,
    indices: Sequence[int],
    stores: Mapping[str, RecordStore],
    plan: Plan,
    module: ModuleType,
    classes: Sequence[str],
) -> tuple[table.Sample, ...]:
    """Some images as the model saw them, with its predictions, as files in `samples/`."""
    datasets = {
        name: build_dataset(apply_condition(subject.cfg, name, plan.rain, plan.derainer))
        for name in _SHOWN
    }
    derain = make_transform(plan.derainer)
    estimates_rain = get_variant(plan.derainer.name).cues > 0
    folder = plan.out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for index in spread(indices, plan.samples):
        predictions = {name: stores[name].load([index])[0] for name in CONDITIONS}
        files, rain = {}, {}
        for name, dataset in datasets.items():
            if plan.derainer.where == "batch":
                packed = dataset[index]
                image = _model_input(packed, derain if name == "derained" else None)
                seen = rgb_of_pipeline(packed["inputs"].permute(1, 2, 0).round().numpy())
            else:
                changed = load_image(dataset, index, ("SynthesizeRain", "JorderDerain"))
                seen = image = rgb_of_pipeline(changed)
            if estimates_rain and name != "derained":
                rain[name] = derain.rain_probability(seen)
            files[name] = f"samples/{plan.rain.preset}_{index:06}_{name}.png"
            with atomic_path(plan.out / files[name]) as temporary:
                Image.fromarray(module.draw(image, predictions[name], classes)).save(
                    temporary, "PNG"
                )
        samples.append(
            table.Sample(
                image=Path(image_path(datasets["clean"], index)).name,
                target=module.describe_target(predictions["clean"], classes),
                images=files,
                predictions={
                    name: module.describe_prediction(record, classes)
                    for name, record in predictions.items()
                },
                rain=rain,
            )
        )
    return tuple(samples)


def _model_input(packed: Mapping[str, Any], derain: JorderDerain | None) -> np.ndarray:
    """An image after the pipeline, derained as batches are: uint8 RGB (H, W, 3).

    Where the pipeline records how it resized the image, padding is cut off and the image
    resized to its own size, which boxes and labels refer to.
    """
    inputs = packed["inputs"]
    if derain is not None:
        inputs = change_tensor(inputs[None], derain)[0]
    image = rgb_of_pipeline(inputs.permute(1, 2, 0).round().numpy())
    meta = packed["data_samples"].metainfo
    if "ori_shape" not in meta or "scale_factor" not in meta:
        return image
    height, width = meta["ori_shape"][:2]
    across, down = meta["scale_factor"][:2]
    columns, rows = round(width * across), round(height * down)
    return cv2.resize(image[:rows, :columns], (width, height), interpolation=cv2.INTER_AREA)


def _in_first_process(work: Callable[[], object]) -> None:
    """Run in the first process while the others wait; its exception is raised in all."""
    errors: list[Exception | None] = [None]
    if is_main_process():
        try:
            work()
        except Exception as error:
            errors = [error]
    broadcast_object_list(errors)
    if errors[0] is not None:
        raise errors[0]
