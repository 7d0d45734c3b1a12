"""Every block of docs/recipes.md runs, in one folder, from top to bottom."""

import re
import shlex
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from evaluation.datasets.synthetic.scenes import draw_scene
from jorder_preproc import derain, load_model, rain_image
from jorder_preproc.cli import app

PAGE = Path(__file__).parents[1] / "docs/recipes.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def read(path):
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The folder after all blocks, and the names that each heading's Python defined."""
    folder = tmp_path_factory.mktemp("recipes")
    for i, name in enumerate(("photos/a/0.png", "photos/a/1.png", "photos/b/2.png")):
        image = draw_scene(np.random.default_rng(i), (64, 96)).image
        frame = folder / f"frames/{i}.png"
        for path, pixels in ((folder / name, image), (frame, rain_image(image, "heavy", 0, i))):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    with av.open(str(folder / "clip.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for frame in sorted(folder.glob("frames/*")):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(read(frame))))
        out.mux(stream.encode())
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for section in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.M)[1:]:
            names = {"__name__": "recipe"}
            for language, code in BLOCK.findall(section):
                if language == "python":
                    exec(compile(code, PAGE.name, "exec"), names)
                    continue
                for line in code.splitlines():
                    command, *arguments = shlex.split(line)
                    assert command == "jorder"
                    result = CliRunner().invoke(app, arguments)
                    assert result.exit_code == 0, result.output
            found[section.partition("\n")[0]] = names
    return folder, found


def test_files(played):
    folder, _ = played
    assert "b/2.png" in (folder / "page.html").read_text("utf-8")
    assert read(folder / "derained/a/1_mask.png").any()


def test_loaders_derain(played):
    _, found = played
    images, labels = (found["torchvision"][name] for name in ("images", "labels"))
    assert images.shape == (2, 3, 56, 56) and labels.tolist() == [0, 0]
    timm = found["timm's training script"]
    assert timm["scores"].sum(1).tolist() == pytest.approx([1, 1])
    first, second = timm["dataset"].transform.transforms
    assert type(first).__name__ == "JorderDerain" and len(second.transforms) > 2


def test_albumentations_and_video(played):
    folder, found = played
    image = found["albumentations"]["image"]
    assert image.shape == (32, 48, 3) and image.std() > 0.1
    with av.open(str(folder / "derained.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_the_config_derains_behind_its_loader(played):
    _, found = played
    steps = [step["type"] for step in found["mmdet and mmseg"]["config"].test_pipeline]
    assert steps[:3] == ["LoadImageFromFile", "jorder_preproc.JorderDerain", "Resize"]


def test_all_ways_give_the_same_image(played):
    folder, _ = played
    frame = torch.from_numpy(read(folder / "frames/0.png").copy()).permute(2, 0, 1)
    expected = derain(load_model(), frame, with_streak_map=True, with_region_mask=True)

    def as_file(pixels):
        return pixels.permute(1, 2, 0).numpy().squeeze()

    assert (read(folder / "out/0.png") == as_file(expected.background)).all()
    assert (read(folder / "streaks.png") == as_file(expected.streak_map)).all()
    assert (read(folder / "mask.png") == as_file(expected.region_mask)).all()
    exported = read(folder / "derained.png").astype(int)
    assert np.abs(exported - as_file(expected.background)).max() <= 1
