"""Deraining in a config, for inferencers and other code that runs no hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import ConfigDict

from jorder_preproc.openmmlab.pipelines import check_loaders, dataset_pipelines, insert, type_names
from jorder_preproc.openmmlab.transforms import JorderDerain

# in the wheel; in a checkout
_CONFIGS = (Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")
_FOLDERS = ("mixins", "mmdet", "mmseg")
_PREPROCESSORS = {"DerainDetDataPreprocessor", "DerainSegDataPreprocessor"}

AnyConfig = TypeVar("AnyConfig", bound=Any)


def patch_config(
    cfg: AnyConfig,
    model: str = "jorder_e_lite",
    *,
    train: bool = False,
    **derain: Any,
) -> AnyConfig:
    """Insert the derain transform behind the image loader of every pipeline of a config.

    That is `test_pipeline`, `val_pipeline`, `tta_pipeline` and those of `test_dataloader` and
    `val_dataloader`, within any data set wrappers. Pipelines that derain already are not
    changed, nor are configs whose data preprocessor derains.

    Args:
        cfg: a Config or a dict, textual or lazy; changed in place.
        model: a name of `list_models`.
        train: patch the pipelines of training as well.
        **derain: further arguments of `jorder_preproc.JorderDerain`.

    Returns:
        The config given.

    Raises:
        TypeError, ValueError, FileNotFoundError: as of `JorderDerain`; a model that is no name;
            or a data set none of whose pipelines loads images.
    """
    if not isinstance(model, str):
        raise TypeError(f"model must be a name, got {type(model).__name__}; see list_models()")
    built = JorderDerain(model, **derain)  # reports mistakes before the pipeline is built
    # as it has them: paths and shipped weights as text
    given = {name: getattr(built, name) for name, value in derain.items() if value is not None}
    step = {"type": "jorder_preproc.JorderDerain", "model": model, **given}
    if derains_inputs(cfg):
        return cfg
    stages = ["test", "val", "train"] if train else ["test", "val"]
    seen = []
    for stage in stages:
        loader = cfg.get(f"{stage}_dataloader")
        if loader:
            pipelines = dataset_pipelines(loader["dataset"])
            outcomes = [insert(pipeline, ConfigDict(step)) for pipeline in pipelines]
            check_loaders(outcomes, f"{stage}_dataloader")
            seen += outcomes
    for name in [*stages, "tta"]:
        pipeline = cfg.get(f"{name}_pipeline")
        if pipeline:
            seen.append(insert(pipeline, ConfigDict(step)))
    check_loaders(seen, "the config")
    return cfg


def config_path(name: str) -> str:
    """Path of a config that comes with the package.

    Args:
        name: for example `mixins/derain` or `mmseg/segformer_b0_ade20k_derain`, with or
            without `.py`.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    root = next((folder for folder in _CONFIGS if (folder / _FOLDERS[0]).is_dir()), _CONFIGS[0])
    names = {
        path.relative_to(root).with_suffix("").as_posix(): path
        for folder in _FOLDERS
        for path in sorted((root / folder).glob("*.py"))
    }
    path = names.get(name.removesuffix(".py"))
    if path is None:
        raise FileNotFoundError(f"no config {name!r}; choose from {', '.join(names) or 'none'}")
    return str(path)


def derains_inputs(cfg: Any) -> bool:
    """Whether the data preprocessor of a config derains."""
    preprocessor = (cfg.get("model") or {}).get("data_preprocessor") or {}
    return bool(type_names(preprocessor) & _PREPROCESSORS)
