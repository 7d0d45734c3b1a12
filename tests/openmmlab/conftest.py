"""Runs with the real OpenMMLab stack; without it the whole folder is skipped, and says so."""

import importlib
from pathlib import Path

import pytest

# `make test` installs them all; mmcv._ext holds the compiled ops
MISSING = []
for name in ("mmengine", "mmcv._ext", "mmdet", "mmseg"):
    try:
        importlib.import_module(name)
    except ImportError as error:
        MISSING.append(f"{name} ({error})")


class NotInstalled(pytest.Module):
    def collect(self):
        pytest.skip(f"the OpenMMLab stack is not installed: {', '.join(MISSING)}")


def pytest_pycollect_makemodule(module_path, parent):
    return NotInstalled.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session", autouse=True)
def faster(one_thread):
    """For models this small, more threads are slower."""


@pytest.fixture(scope="session")
def voc(tmp_path_factory) -> Path:
    from tests.openmmlab.stack import make_voc

    return make_voc(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="session")
def ade(tmp_path_factory) -> Path:
    from tests.openmmlab.stack import make_ade

    return make_ade(tmp_path_factory.mktemp("ade"))


@pytest.fixture
def det(voc, tmp_path):
    """A small Faster R-CNN on the VOC data set."""
    from tests.openmmlab.stack import det_config

    return det_config(voc, tmp_path)


@pytest.fixture
def seg(ade, tmp_path):
    """A small PSPNet on the ADE20K data set."""
    from tests.openmmlab.stack import seg_config

    return seg_config(ade, tmp_path)


@pytest.fixture
def count(monkeypatch, tmp_path):
    """Counts images derained, in this process and in forked workers."""
    import jorder_preproc.transforms

    log = tmp_path / "derained"
    log.touch()
    derain_image = jorder_preproc.transforms.derain_image

    def counted(model, image, **options):
        with log.open("ab", buffering=0) as file:
            file.write(b"." * (image.shape[0] if image.ndim == 4 else 1))
        return derain_image(model, image, **options)

    monkeypatch.setattr(jorder_preproc.transforms, "derain_image", counted)

    def read() -> int:
        """Images derained since the last call."""
        number = log.stat().st_size
        log.write_bytes(b"")
        return number

    return read
