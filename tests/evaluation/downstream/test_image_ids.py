"""What images are called when rain is put on them."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from evaluation.datasets.photos import find_photographs
from evaluation.downstream.conditions import apply_condition
from evaluation.downstream.runner import build_dataset, find_source, load_image
from evaluation.downstream.tasks.classification import make_subject
from evaluation.report.schema import Derainer, Rain
from evaluation.restoration.scores import add_rain_to_all
from jorder_preproc import rain_image, synthesize_rain
from tests.evaluation.images import photograph


def two_classes(root: Path, name: str) -> dict[str, np.ndarray]:
    """Images of one name, one of each class, by their paths below `root`."""
    paths = [f"{kind}/{name}" for kind in ("cat", "dog")]
    return {path: photograph(root / path, seed) for seed, path in enumerate(paths)}


@pytest.mark.parametrize("given", [".", "val"])
def test_imagenet_by_its_folder_and_by_the_one_around_it(tmp_path, given):
    images = two_classes(tmp_path / "val", "1.png")
    subject = make_subject(
        str(tmp_path / given), "tests.evaluation.downstream.tiny:classifier", outputs=2
    )
    dataset = build_dataset(apply_condition(subject.cfg, "rainy", Rain("heavy", 2), Derainer()))
    for index, (name, pixels) in enumerate(images.items()):
        rainy = load_image(dataset, index, ["SynthesizeRain"])[..., ::-1]
        np.testing.assert_array_equal(rainy, rain_image(pixels, "heavy", 2, name))


def test_data_sets_in_wrappers_have_roots_of_their_own(tmp_path):
    roots = [tmp_path / "one", tmp_path / "another/place"]
    images = [
        (path, pixels)
        for number, root in enumerate(roots)
        for path, pixels in two_classes(root, f"{number}.png").items()
    ]
    sets = [
        dict(
            type="ImageNetValidation",
            data_root=str(root),
            pipeline=[dict(type="LoadPillowImage")],
            test_mode=True,
        )
        for root in roots
    ]
    together = dict(type="ConcatDataset", datasets=sets)
    repeated = dict(type="RepeatDataset", times=2, dataset=together)
    cfg = Config(dict(default_scope="mmengine", test_dataloader=dict(dataset=repeated)))
    dataset = build_dataset(apply_condition(cfg, "rainy", Rain("heavy", 2), Derainer()))
    for index, (name, pixels) in enumerate(images * 2):
        assert find_source(dataset, index).data_root == str(roots[index % len(images) // 2])
        # the rain of the pipeline goes by the same name
        expected = rain_image(pixels, "heavy", 2, name)
        np.testing.assert_array_equal(dataset[index]["img"][..., ::-1], expected)


def test_photographs_go_by_their_paths(tmp_path):
    two_classes(tmp_path / "photos", "1.png")
    photographs = find_photographs(tmp_path / "photos", tmp_path / "out")
    assert list(photographs) == ["cat/1.png", "dog/1.png"]
    for rainy in add_rain_to_all(photographs, "light", 3):
        expected = synthesize_rain(rainy.clean, "light", 3, rainy.name)
        assert (rainy.streak_map == expected.streak_map).all()
