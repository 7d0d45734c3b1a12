import io
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from jorder_preproc import SynthesizeRain, synthesize_rain
from jorder_preproc.rain import image_name, synthesize
from jorder_preproc.rain.identity import rain_generator


@pytest.fixture
def drawn(monkeypatch) -> list[list[torch.Tensor]]:
    """The light and colour of all streak layers that are drawn, image after image."""
    images = []
    add_rain = synthesize.add_rain

    def recording(background, layers, accumulation=None):
        images.append([part for layer in layers for part in (layer.light, layer.colour)])
        return add_rain(background, layers, accumulation)

    monkeypatch.setattr(synthesize, "add_rain", recording)
    return images


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def decoded_twice() -> tuple[np.ndarray, np.ndarray]:
    """A JPEG of inks as uint8 RGB, by Pillow and by OpenCV, which mix inks each in its own way."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((60, 50))
    file = io.BytesIO()
    photo.convert("CMYK").save(file, "JPEG", quality=90)
    pillow = np.array(Image.open(file).convert("RGB"))
    opencv = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    difference = np.abs(pillow.astype(int) - opencv)
    assert difference.max() == 1, "the two are to differ by a step here and there"
    return pillow, np.ascontiguousarray(opencv)


def test_named_rain_does_not_depend_on_the_decoder(drawn):
    pillow, opencv = decoded_twice()
    changed = pillow.copy()
    changed[20, 30] ^= 1
    rain = SynthesizeRain("storm", seed=3)
    for image in (pillow, opencv, changed):
        rain(image, image_id="a/b.jpg")
    first, *others = drawn
    assert first and all(same(first, other) for other in others)
    # without a name, all three are images of their own
    drawn.clear()
    for image in (pillow, opencv, changed):
        rain(image)
    assert not any(same(drawn[k], drawn[k - 1]) for k in range(3))


def test_rain_of_other_names(drawn):
    grey = torch.full((3, 40, 50), 0.5)
    for name in ("a/b.jpg", "b.jpg", "a/b.png", 1, "1"):
        synthesize_rain(grey, "light", 0, name)
    assert not any(same(one, other) for k, one in enumerate(drawn) for other in drawn[:k])
    synthesize_rain(grey, "light", 0, np.int64(1))
    assert same(drawn[-1], drawn[3])


@pytest.mark.parametrize(
    ("path", "data_root", "name"),
    [
        ("/data/val/n01/a.JPEG", "/data/val", "n01/a.JPEG"),
        ("/data/val/n01/a.JPEG", "/data/val/", "n01/a.JPEG"),
        (Path("/data/val/n01/a.JPEG"), Path("/data"), "val/n01/a.JPEG"),
        ("val/n01/a.JPEG", "val", "n01/a.JPEG"),
        ("val/n01/a.JPEG", ".", "val/n01/a.JPEG"),
        ("./val/../val/a.JPEG", "val", "a.JPEG"),
        # nothing says where the data lie
        ("/data/val/n01/a.JPEG", None, "a.JPEG"),
        ("/data/val/n01/a.JPEG", "", "a.JPEG"),
        ("/data/val/n01/a.JPEG", "/data/train", "a.JPEG"),
        ("/data/val-2/a.JPEG", "/data/val", "a.JPEG"),
        # accents as characters of their own
        (unicodedata.normalize("NFD", "/data/é/ü.jpg"), "/data", "é/ü.jpg"),
    ],
)
def test_names(path, data_root, name):
    assert image_name(path, data_root) == name


def test_name_below_a_root_given_from_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert image_name("val/n/a.jpg", tmp_path / "val") == "n/a.jpg"
    assert image_name(tmp_path / "val/n/a.jpg", "val") == "n/a.jpg"


def test_names_that_are_no_text():
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as Python reads file names
    assert rain_generator(0, name).random() != rain_generator(0, "cafe.jpg").random()


@pytest.mark.parametrize("image_id", [Path("a/b.jpg"), 1.5, ["a", "b"], b"a"])
def test_ids_refused(image_id):
    message = f"text or a whole number, got {type(image_id).__name__}; .* image_name"
    with pytest.raises(TypeError, match=message):
        synthesize_rain(torch.full((3, 8, 8), 0.5), image_id=image_id)
