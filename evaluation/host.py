"""Configs of mmdet and mmseg, made ready for the engine."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from jorder_preproc.openmmlab.pipelines import dataset_pipelines, type_names


def read_config(path: str, data: str | None = None) -> Config:
    """A config of mmdet or mmseg, with the data in another folder if one is given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no config for a test, or its test does not load annotations.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no config {path}")
    cfg = Config.fromfile(path)
    if cfg.get("test_dataloader") is None or cfg.get("model") is None:
        raise ValueError(f"{path} has no test_dataloader or no model: give a config that can test")
    pipelines = list(dataset_pipelines(cfg.test_dataloader["dataset"]))
    if not any("LoadAnnotations" in type_names(step) for steps in pipelines for step in steps):
        raise ValueError(
            f"the test pipeline of {path} has no LoadAnnotations, so there is no truth to compare "
            "with; put dict(type='LoadAnnotations') behind its Resize"
        )
    if data is not None:
        if not Path(data).is_dir():
            raise FileNotFoundError(f"no folder {data}")
        cfg.test_dataloader["dataset"]["data_root"] = data
    cfg.test_dataloader["persistent_workers"] = False
    # weights come from the checkpoint; those of a backbone would be downloaded for nothing
    for part, key in ((cfg.model, "pretrained"), (cfg.model.get("backbone", {}), "init_cfg")):
        if key in part:
            part[key] = None
    init_default_scope(cfg.get("default_scope", "mmengine"))
    return cfg
