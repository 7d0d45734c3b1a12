import numpy as np
import pytest
import timm
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from evaluation.downstream.checkpoints import state_sha256
from evaluation.downstream.tasks.classification import make_subject, record
from evaluation.downstream.tasks.timm_model import (
    Classifier,
    LoadPillowImage,
    ResizeAndPack,
    build_network,
    input_settings,
)
from jorder_preproc.errors import UserError

TINY = "tests.evaluation.downstream.tiny:classifier"


def test_weights_without_a_file_are_told_by_their_tensors(tmp_path):
    def identity(seed):
        torch.manual_seed(seed)
        return make_subject(str(tmp_path), "test_resnet", outputs=3).identity["weights_sha256"]

    assert identity(0) == identity(0) != identity(1)
    # one tensor by another name, shape or order of bits is another state
    weights = torch.arange(4.0)
    states = [{"a": weights}, {"b": weights}, {"a": weights.view(2, 2)}, {"a": weights.int()}, {}]
    assert len({state_sha256(state) for state in states}) == 5
    assert state_sha256({"a": weights, "b": weights}) == state_sha256({"b": weights, "a": weights})


def test_settings_are_the_models_own_unless_they_are_given():
    expected = timm.data.resolve_data_config(model=timm.create_model("vgg19"))
    settings = input_settings("vgg19.tv_in1k")
    assert settings["interpolation"] == "bilinear" and settings["crop_pct"] == 0.875
    for key in ("input_size", "mean", "std"):
        assert settings[key] == expected[key]
    changed = input_settings("vgg19.tv_in1k", {"crop_pct": 1.0, "mean": (0.1, 0.2, 0.3)})
    assert changed["crop_pct"] == 1.0 and changed["mean"] == (0.1, 0.2, 0.3)
    assert input_settings(TINY)["input_size"] == (3, 40, 40)


@pytest.mark.parametrize("name", ["test_resnet", "vgg19.tv_in1k", TINY])
def test_the_model_gets_what_timm_would_give_it(name, tmp_path):
    path = tmp_path / "cat.png"
    Image.fromarray(data.chelsea()).save(path)
    settings = input_settings(name)
    with Image.open(path) as image:
        expected = timm.data.create_transform(**settings)(image)
    item = {"img_path": str(path), "target": 3}
    batch = pseudo_collate([ResizeAndPack(settings)(LoadPillowImage()(item))])
    assert batch["inputs"][0].dtype == torch.uint8
    classifier = Classifier(TINY, settings)
    prepared = classifier.data_preprocessor(batch)
    torch.testing.assert_close(prepared["inputs"][0], expected, atol=2e-5, rtol=0)
    assert prepared["data_samples"][0].target == 3


def test_scores_are_those_of_the_network():
    settings = input_settings(TINY)
    classifier = Classifier(TINY, settings).eval()
    inputs = torch.rand(2, 3, 40, 40)
    samples = [BaseDataElement(target=k) for k in (1, 2)]
    with torch.no_grad():
        logits = build_network(TINY).eval()(inputs)
        found = classifier(inputs, samples, mode="predict")
        loss = classifier(inputs, samples, mode="loss")["loss"]
    for sample, row in zip(found, logits, strict=True):
        np.testing.assert_allclose(sample.scores, torch.softmax(row, 0), rtol=1e-5)
    expected = -torch.log_softmax(logits, 1)[[0, 1], [1, 2]].mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_record_holds_the_likeliest_labels():
    scores = torch.tensor([0.1, 0.5, 0.05, 0.35])
    found = record(BaseDataElement(scores=scores, target=3), ["a", "b", "c", "d"])
    assert found["labels"].tolist() == [1, 3, 0, 2]
    np.testing.assert_array_equal(found["scores"], scores[[1, 3, 0, 2]])
    assert found["target"] == 3


def test_weights_from_a_file(tmp_path):
    network = build_network(TINY, classes=5)
    with torch.no_grad():
        network[4].bias.fill_(7.0)
    torch.save(network.state_dict(), tmp_path / "five.pth")
    loaded = build_network(TINY, classes=5, checkpoint=str(tmp_path / "five.pth"))
    assert torch.equal(loaded[4].bias, torch.full((5,), 7.0))
    with pytest.raises(ValueError, match="does not fit"):
        build_network(TINY, checkpoint=str(tmp_path / "five.pth"))


def test_unknown_models():
    with pytest.raises(ValueError, match=r"no model 'resnet18x'; near it|see timm"):
        build_network("resnet18x")
    with pytest.raises(ValueError, match="module:function"):
        input_settings("no.such.module:thing")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_size": (3, 0, 0)}, "at least 1 px, got 0"),
        ({"crop_pct": 87.5}, r"a share of the image in \(0, 1\], such as 0.875, got 87.5"),
        ({"crop_pct": 0.0}, "got 0.0"),
        ({"mean": (123.675, 116.28, 103.53)}, r"mean is of values in \[0, 1\]"),
        ({"std": (0.2, 0.0, 0.2)}, r"std is of values in \[0, 1\]"),
        ({"interpolation": "nearest-exact"}, "must be one of nearest, bilinear, bicubic"),
    ],
)
def test_settings_that_cannot_be_meant(given, message):
    with pytest.raises(UserError, match=message):
        input_settings("vgg19.tv_in1k", given)


def test_weights_that_timm_does_not_have():
    with pytest.raises(UserError, match=r"no weights 'tv_in1K' of vgg19; it has vgg19\.tv_in1k$"):
        input_settings("vgg19.tv_in1K")


def test_a_list_of_classes_says_how_many_outputs_own_weights_have(tmp_path):
    classes, weights = tmp_path / "classes.txt", tmp_path / "own.safetensors"
    classes.write_text("cat\ndog\nbird\n")
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), weights)
    arguments = make_subject(
        str(tmp_path), "test_resnet", str(weights), classes=str(classes)
    ).cfg.model
    arguments.pop("type")
    assert Classifier(**arguments).network.num_classes == 3
