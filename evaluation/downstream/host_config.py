"""Configs of mmdet and mmseg, prepared for testing."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from jorder_preproc.errors import MissingFileError, UserError
from jorder_preproc.openmmlab.pipelines import dataset_pipelines, datasets, type_names


def read_config(path: str, data: str | None = None) -> Config:
    """Read a config of mmdet or mmseg, with another data folder if one is given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no test in the config, or one that loads no annotations.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no config {path}")
    cfg = Config.fromfile(path)
    if cfg.get("test_dataloader") is None or cfg.get("model") is None:
        raise UserError(f"{path} has no test_dataloader or no model: give a config that can test")
    pipelines = list(dataset_pipelines(cfg.test_dataloader["dataset"]))
    if not any("LoadAnnotations" in type_names(step) for steps in pipelines for step in steps):
        raise UserError(
            f"the test pipeline of {path} has no LoadAnnotations, so there are no targets to "
            "compare with; put dict(type='LoadAnnotations') behind its Resize"
        )
    if data is not None:
        if not Path(data).is_dir():
            raise MissingFileError(f"no folder {data}")
        for dataset in datasets(cfg.test_dataloader["dataset"]):
            if not {"dataset", "datasets"} & dataset.keys():  # a wrapper has no data of its own
                dataset["data_root"] = data
    cfg.test_dataloader["persistent_workers"] = False
    # padding would make predictions depend on batch composition
    cfg.test_dataloader["batch_size"] = 1
    # the checkpoint has the backbone's weights, too: avoid a download
    for part, key in ((cfg.model, "pretrained"), (cfg.model.get("backbone", {}), "init_cfg")):
        if key in part:
            part[key] = None
    init_default_scope(cfg.get("default_scope", "mmengine"))
    return cfg
