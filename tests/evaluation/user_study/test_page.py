"""The page of pairs: blind, complete, and played through in Chromium."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from evaluation.user_study.page import write_study
from evaluation.user_study.rank_product import rank, read_votes
from tests.evaluation.browser import CHROMIUM, browse

METHODS = {"ours": 40, "theirs": 120, "nothing": 200}  # grey level of their results


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for (method, level), name in itertools.product({**METHODS, "in": 255}.items(), ("x", "y")):
        path = root / method / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def study(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    key = write_study({name: folders / name for name in METHODS}, out, folders / "in")
    return out, key


def data_of(out):
    text = (out / "study.html").read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    return text, json.loads(found[1].replace("<\\/", "</"))


def level_of(uri):
    file = io.BytesIO(base64.b64decode(uri.partition(",")[2]))
    return int(np.asarray(Image.open(file)).mean().round())


def test_every_pair_on_every_image_and_no_names(study):
    out, key = study
    text, data = data_of(out)
    assert len(data["pairs"]) == 2 * 3
    for image in key.images:
        pairs = [frozenset(p["methods"]) for p in data["pairs"] if p["image"] == image]
        assert set(pairs) == set(map(frozenset, itertools.combinations(key.methods, 2)))
        for code, name in key.methods.items():
            assert level_of(data["pixels"][image][code]) == METHODS[name]
        assert level_of(data["pixels"][image]["rainy"]) == 255
    assert not any(name in text for name in METHODS)
    assert "http:" not in text and "https:" not in text
    assert json.loads((out / "key.json").read_text())["study"] == key.study


def test_codes_follow_from_the_seed(folders, tmp_path):
    methods = {name: folders / name for name in METHODS}
    keys = [write_study(methods, tmp_path / str(k), seed=seed) for k, seed in enumerate((0, 0, 5))]
    assert keys[0] == keys[1]
    assert keys[0].study != keys[2].study
    assert "Space" not in (tmp_path / "0" / "study.html").read_text()


def test_the_key_of_another_study_is_kept(folders, tmp_path):
    methods = {name: folders / name for name in METHODS}
    key = write_study(methods, tmp_path)
    assert write_study(methods, tmp_path) == key
    before = (tmp_path / "key.json").read_bytes(), (tmp_path / "study.html").read_bytes()
    with pytest.raises(ValueError, match=f"the key of another study .{key.study}., whose votes"):
        write_study(methods, tmp_path, seed=1)
    assert before == ((tmp_path / "key.json").read_bytes(), (tmp_path / "study.html").read_bytes())


def test_folders_that_do_not_fit(folders, tmp_path):
    ours = folders / "ours"
    with pytest.raises(ValueError, match="at least two methods, got ours"):
        write_study({"ours": ours}, tmp_path)
    with pytest.raises(ValueError, match="no images in .*missing"):
        write_study({"ours": ours, "theirs": folders / "missing"}, tmp_path)
    with pytest.raises(ValueError, match="cannot be named `rainy`"):
        write_study({"ours": ours, "rainy": ours}, tmp_path, ours)
    (tmp_path / "few").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "few" / "x.png")
    with pytest.raises(ValueError, match=r"'y' is not in all of them: .*few has 1, .*ours has 2"):
        write_study({"ours": ours, "few": tmp_path / "few"}, tmp_path / "out")
    Image.new("RGB", (31, 20)).save(tmp_path / "few" / "y.png")
    with pytest.raises(ValueError, match=r"y.png is \(31, 20\), the same image .* \(30, 20\)"):
        write_study({"ours": ours, "few": tmp_path / "few"}, tmp_path / "out")
    (tmp_path / "few" / "x.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"few/x\.png: not an image"):
        write_study({"ours": ours, "few": tmp_path / "few"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photographs_are_upright(folders, tmp_path):
    """As `jorder derain` writes them, whatever their orientation in the file."""
    (tmp_path / "turned").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("x", "y"):
        Image.new("RGB", (20, 30)).save(tmp_path / "turned" / f"{name}.jpg", exif=exif)
    write_study({"ours": folders / "ours", "turned": tmp_path / "turned"}, tmp_path / "out")
    assert (tmp_path / "out" / "study.html").is_file()


# a participant who prefers the darker image, by clicks, keys and with one mistake taken back
PLAY = """
const darker = () => {
  const {image, left, right} = state.order[state.votes.length];
  const level = (code) => LEVELS[code];
  return level(left) < level(right) ? "left" : "right";
};
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", {key}));
const other = {left: "right", right: "left"};
one("#" + other[darker()]).click();
one("#back").click();
const first = darker();
one("#" + first).click();
const shown = one("#left img").src;
press(" ");
const rainy = one("#left img").src !== shown && one("#left img").src === one("#right img").src;
document.dispatchEvent(new KeyboardEvent("keyup", {key: " "}));
const back = one("#left img").src === shown;
while (state.votes.length < state.order.length) {
  press(darker() === "left" ? "ArrowLeft" : "ArrowRight");
}
document.title = JSON.stringify({rainy, back, count: one("#count").textContent,
  done: !one("#done").hidden && one("#vote").hidden, file: JSON.parse(votes())});
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_votes_of_a_participant(study, tmp_path):
    out, key = study
    levels = json.dumps({code: METHODS[name] for code, name in key.methods.items()})
    text = (out / "study.html").read_text(encoding="utf-8")
    play = f"<script>const LEVELS = {levels};{PLAY}</script></body>"
    page = tmp_path / "played.html"
    page.write_text(text.replace("</body>", play), encoding="utf-8")
    dom = browse(page, tmp_path / "profile", "--dump-dom")
    seen = json.loads(re.search(r"<title>(.*?)</title>", dom, re.S)[1])
    assert seen["rainy"] and seen["back"] and seen["done"] and seen["count"] == "6 of 6"
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(seen["file"]))
    rows = rank(read_votes(out, [file]), repeats=20)
    assert [(row.method, round(row.rank_product, 9)) for row in rows] == [
        ("ours", 1), ("theirs", 2), ("nothing", 3),
    ]  # fmt: skip
