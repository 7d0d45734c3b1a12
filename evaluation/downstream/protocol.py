"""From a model and a data set to the table: all conditions, the statistics, the samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from mmengine.dist import broadcast_object_list, is_main_process
from PIL import Image
from rich.console import Console

from evaluation.downstream.checkpoints import file_sha256
from evaluation.downstream.conditions import CONDITIONS, Derain, Rain
from evaluation.downstream.published_scores import check_clean
from evaluation.downstream.records import Record, RecordStore
from evaluation.downstream.runner import (
    Subject,
    build_dataset,
    condition_config,
    data_digest,
    find_unreadable,
    image_path,
    load_image,
    run_condition,
)
from evaluation.metrics import SCORE, Scores
from evaluation.metrics.classification import correct
from evaluation.metrics.coco import coco_ap
from evaluation.metrics.statistics import bootstrap, mcnemar, recovery
from evaluation.report import schema as table
from evaluation.report.paper_numbers import paper_rows
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.models import get_variant
from jorder_preproc.openmmlab.images import change_tensor
from jorder_preproc.transforms import JorderDerain

Work = TypeVar("Work")

_SHOWN = ("clean", "rainy", "derained")


@dataclass(frozen=True)
class Plan:
    """What to do with a subject, besides testing it.

    Attributes:
        task: `classification`, `segmentation` or `detection`.
        title: of the table.
        model: name of the model, as `check_clean` knows it.
        data: name of the data set.
        root: its folder.
        whole: images of the whole of it; None where that is not known.
        command: what was typed.
        out: folder for everything.
        rain, derain: see `evaluation.downstream.conditions`.
        limit: at most so many images, evenly spread over the data set; None takes all.
        skip_unreadable: count images that cannot be read and leave them out everywhere.
        check_clean: stop where a known model misses its published clean score.
        samples: pictures to show, evenly spread.
        coco: for detection, COCO's AP too.
    """

    task: str
    title: str
    model: str
    data: str
    root: str
    whole: int | None
    command: str
    out: Path
    rain: Rain
    derain: Derain
    limit: int | None = None
    skip_unreadable: bool = False
    check_clean: bool = True
    samples: int = 6
    coco: bool = False


def evaluate(
    subject: Subject, plan: Plan, module: ModuleType, console: Console
) -> table.Results | None:
    """Test under all conditions and put the table together.

    Every process of a launcher calls this; the first one gets the results, the others None.

    Args:
        subject: model and data set.
        plan: see there.
        module: of the task, with `truth`, `said` and `draw`.
        console: for progress.

    Raises:
        CleanScoreError: see `check_clean`.
        UnreadableImage: an image cannot be loaded, and they are not to be skipped.
        ValueError: see `run_condition`.
    """
    dataset = build_dataset(subject.cfg)
    classes = tuple(dataset.metainfo["classes"])
    indices = spread(len(dataset), plan.limit)
    unreadable = find_unreadable(dataset, indices, console) if plan.skip_unreadable else {}
    indices = [index for index in indices if index not in unreadable]
    if not indices:
        raise UserError(f"{plan.root} has no image that can be read")
    digest = data_digest(dataset)
    stores: dict[str, RecordStore] = {}
    records: dict[str, list[Record]] = {}
    scores: dict[str, Scores] = {}

    def score(condition: str) -> None:
        records[condition] = stores[condition].load(indices)
        scores[condition] = SCORE[plan.task](records[condition], len(classes))
        if hasattr(module, "check_with_host"):
            module.check_with_host(records[condition], scores[condition], classes)
        if condition == "clean" and plan.check_clean:
            check_clean(plan.task, plan.model, len(indices), scores["clean"].metrics)

    for condition in CONDITIONS:
        stores[condition] = run_condition(
            subject, condition, plan.rain, plan.derain, digest, indices, plan.out, console
        )
        _in_first_process(partial(score, condition))
    if not is_main_process():
        return None
    with console.status("resampling"):
        metrics = {name: _metric(name, scores, len(indices)) for name in scores["clean"].metrics}
    if plan.coco:
        found = {name: coco_ap(records[name], len(classes)) for name in CONDITIONS}
        metrics |= {name: _plain_metric(name, found) for name in found["clean"]}
    return table.Results(
        task=plan.task,
        title=plan.title,
        command=plan.command,
        dataset=table.Dataset(
            name=plan.data,
            root=plan.root,
            images=len(indices),
            whole=len(indices) == len(dataset) == (plan.whole or len(dataset)),
            unreadable=[image_path(dataset, index) for index in sorted(unreadable)],
        ),
        model=table.Model(
            name=plan.model,
            checkpoint=subject.checkpoint,
            sha256=subject.identity.get("weights_sha256")
            if subject.checkpoint is None
            else file_sha256(subject.checkpoint),
        ),
        rain=table.Rain(plan.rain.preset, plan.rain.seed),
        derain=table.Derainer(
            model=plan.derain.model,
            weights=plan.derain.weights,
            sha256=plan.derain.sha256,
            where=plan.derain.where,
            deveil={False: "off", True: "on", "auto": "auto"}[plan.derain.deveil],
            deveil_weights=plan.derain.deveil_weights,
            deveil_sha256=plan.derain.deveil_sha256,
            dry=plan.derain.dry,
        ),
        metrics=metrics,
        classes=_classes(classes, scores),
        mcnemar=_mcnemar(records) if plan.task == "classification" else None,
        images_per_second={
            name: store.images_per_second
            for name, store in stores.items()
            if store.images_per_second is not None
        },
        paper=paper_rows(plan.task),
        samples=_samples(subject, indices, records, plan, module, classes),
        origins=_origins(stores, indices),
    )


def spread(total: int, limit: int | None) -> list[int]:
    """At most `limit` of the numbers below `total`, evenly spread; None takes all."""
    if limit is None or limit >= total:
        return list(range(total))
    return [number * total // limit for number in range(limit)]


def _metric(name: str, scores: Mapping[str, Scores], images: int) -> table.Metric:
    values = {condition: scores[condition].metrics[name] for condition in CONDITIONS}
    measures = {condition: scores[condition].measures[name] for condition in CONDITIONS}
    sampled = bootstrap(measures, images)
    return table.Metric(
        **values,
        recovery=recovery(values["clean"], values["rainy"], values["derained"]),
        interval=sampled.recovery or table.UNDEFINED,
        intervals={key: value or table.UNDEFINED for key, value in sampled.conditions.items()},
        harm=values["clean_derained"] - values["clean"],
        harm_interval=sampled.harm or table.UNDEFINED,
    )


def _plain_metric(name: str, found: Mapping[str, Mapping[str, float]]) -> table.Metric:
    """A metric without a bootstrap: COCO's evaluation is too slow to be repeated."""
    values = {condition: found[condition][name] for condition in CONDITIONS}
    return table.Metric(
        **values,
        recovery=recovery(values["clean"], values["rainy"], values["derained"]),
        interval=table.UNDEFINED,
        intervals={},
        harm=values["clean_derained"] - values["clean"],
        harm_interval=table.UNDEFINED,
    )


def _classes(classes: Sequence[str], scores: Mapping[str, Scores]) -> table.Classes:
    columns = [scores[condition].class_values for condition in CONDITIONS]
    rows = [
        table.ClassRow(name, *(float(column[number]) for column in columns))
        for number, name in enumerate(classes)
        if not np.isnan(columns[0][number])
    ]
    return table.Classes(metric=scores["clean"].class_metric, rows=rows)


def _mcnemar(records: Mapping[str, Sequence[Record]]) -> table.PairedTest:
    test = mcnemar(correct(records["derained"]), correct(records["rainy"]))
    return table.PairedTest(test.only_first, test.only_second, test.p_value)


def _origins(stores: Mapping[str, RecordStore], indices: Sequence[int]) -> list[table.Origin]:
    """Where the predictions come from: one for each that differs in more than its date."""
    dates: dict[str, list[str]] = {}
    for store in stores.values():
        for origin in store.origins(indices):
            date = origin.pop("date")
            dates.setdefault(json.dumps(origin, sort_keys=True), []).append(date)
    found = [
        table.Origin(len(made), min(made), max(made), **json.loads(origin))
        for origin, made in dates.items()
    ]
    return sorted(found, key=lambda origin: origin.first)


def _samples(
    subject: Subject,
    indices: Sequence[int],
    records: Mapping[str, Sequence[Record]],
    plan: Plan,
    module: ModuleType,
    classes: Sequence[str],
) -> list[table.Sample]:
    """Some images as the model saw them, with what it said, as files in `samples/`."""
    configs = {name: condition_config(subject, name, plan.rain, plan.derain) for name in _SHOWN}
    datasets = {name: build_dataset(cfg) for name, cfg in configs.items()}
    derain = plan.derain.transform()
    tells = get_variant(plan.derain.model).cues > 0
    folder = plan.out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for position in spread(len(indices), plan.samples):
        index = indices[position]
        said = {name: records[name][position] for name in CONDITIONS}
        files, rain = {}, {}
        for name, dataset in datasets.items():
            if plan.derain.where == "batch":
                packed = dataset[index]
                picture = _model_input(packed, derain if name == "derained" else None)
                looked_at = packed["inputs"].flip(0).round().to(torch.uint8)
            else:
                changed = load_image(dataset, index, ("SynthesizeRain", "JorderDerain"))
                looked_at = picture = np.ascontiguousarray(changed[..., ::-1]).astype(np.uint8)
            if tells and name != "derained":
                rain[name] = derain.rain_probability(looked_at)
            files[name] = f"samples/{index:06}_{name}.png"
            with atomic_path(plan.out / files[name]) as temporary:
                Image.fromarray(module.draw(picture, said[name], classes)).save(temporary, "PNG")
        samples.append(
            table.Sample(
                image=Path(image_path(datasets["clean"], index)).name,
                truth=module.truth(said["clean"], classes),
                pictures=files,
                said={name: module.said(record, classes) for name, record in said.items()},
                rain=rain,
            )
        )
    return samples


def _model_input(packed: Mapping[str, Any], derain: JorderDerain | None) -> np.ndarray:
    """An image after the pipeline, as batches are derained: uint8 RGB (H, W, 3).

    Where the pipeline notes how it resized the image, padding is cut off and the image put
    back to its own size, in whose pixels boxes and labels are.
    """
    inputs = packed["inputs"]
    if derain is not None:
        inputs = change_tensor(inputs[None], derain)[0]
    picture = inputs.flip(0).permute(1, 2, 0).round().to(torch.uint8).numpy()
    meta = packed["data_samples"].metainfo
    if "ori_shape" not in meta or "scale_factor" not in meta:
        return picture
    height, width = meta["ori_shape"][:2]
    columns, rows = (
        round(size * scale)
        for size, scale in zip((width, height), meta["scale_factor"][:2], strict=True)
    )
    return cv2.resize(picture[:rows, :columns], (width, height), interpolation=cv2.INTER_AREA)


def _in_first_process(work: Callable[[], Work]) -> Work | None:
    """Let the first process work and the others wait; what it raises, all raise."""
    result: Work | None = None
    errors: list[Exception | None] = [None]
    if is_main_process():
        try:
            result = work()
        except Exception as error:
            errors = [error]
    broadcast_object_list(errors)
    if errors[0] is not None:
        raise errors[0]
    return result
