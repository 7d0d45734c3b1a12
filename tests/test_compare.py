"""`jorder compare`: which images it pairs, what it refuses, and its page in Chromium."""

import base64
import io
import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jorder_preproc.cli import app
from jorder_preproc.compare import find_pairs, write_comparison
from tests.evaluation.browser import CHROMIUM, browse


def save(path, colour, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folders(tmp_path):
    """`b/two.png` was derained, with a mask of its left half, and `one.png` without one."""
    rainy, derained = tmp_path / "rainy", tmp_path / "derained"
    for name in ("one.png", 'b/two <b>&".png'):
        save(rainy / name, "blue")
        save(derained / name, "red")
    mask = np.zeros((40, 60), np.uint8)
    mask[:, :30] = 255
    Image.fromarray(mask).save(derained / 'b/two <b>&"_mask.png')
    return rainy, derained


def compare(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def error_of(result):
    assert result.exit_code == 2
    return " ".join(result.stderr.split())


def uris(text):
    return re.findall(r'src="data:image/(\w+);base64,([^"]+)"', text)


def decode(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri[1]))).convert("RGBA")).astype(int)


def test_partners_have_the_same_path(folders):
    rainy, derained = folders
    save(rainy / "only rainy.png", "blue")
    save(rainy / "sub/photo.jpg", "blue")
    save(derained / "sub/photo.png", "red")  # the suffix leaves no doubt
    save(rainy / "sub/twice.jpg", "blue")
    save(derained / "sub/twice.png", "red")
    save(derained / "sub/twice.bmp", "red")  # here it does
    for folder in folders:  # extras of jorder rain and jorder derain
        save(folder / "one_streaks.png", "white")
        save(folder / "one_mask.png", "white")
    save(rainy / "gas_mask.png", "blue")  # an image of its own
    save(derained / "gas_mask.png", "red")
    pairs = find_pairs(rainy, derained)
    expected = ['b/two <b>&".png', "gas_mask.png", "one.png", "sub/photo.jpg"]
    assert [pair.name for pair in pairs] == expected
    assert [pair.derained.name for pair in pairs][2:] == ["one.png", "photo.png"]
    masks = [pair.mask.name if pair.mask else None for pair in pairs]
    assert masks == ['two <b>&"_mask.png', None, "one_mask.png", None]


def test_the_page_holds_the_images_and_nothing_from_elsewhere(folders, tmp_path):
    rainy, derained = folders
    page = tmp_path / "page.html"
    result = compare(rainy, derained, "-o", page)
    assert result.exit_code == 0 and "2 images" in result.stdout
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(", text) and "<b>" not in text
    assert unescape(re.search(r'<figure data-name="([^"]*)"', text)[1]) == 'b/two <b>&".png'
    blue, mask, red, *_ = map(decode, uris(text))
    assert np.abs(blue[..., :3] - (0, 0, 255)).max() <= 3
    assert np.abs(red[..., :3] - (255, 0, 0)).max() <= 3
    assert (mask[:, :30, 3] > 0).all() and (mask[:, 30:, 3] == 0).all()
    assert blue.shape == red.shape == mask.shape == (40, 60, 4)


def test_large_and_deep_images_are_made_fit(tmp_path):
    # 16 bits, 257 times the values of 8
    deep = np.full((30, 90), 257 * 80, np.uint16)
    for folder in ("rainy", "derained"):
        (tmp_path / folder).mkdir()
        Image.fromarray(deep).save(tmp_path / folder / "x.png")
    page = tmp_path / "page.html"
    write_comparison(find_pairs(tmp_path / "rainy", tmp_path / "derained"), page, 30)
    for uri in uris(page.read_text()):
        pixels = decode(uri)
        assert pixels.shape == (10, 30, 4) and np.abs(pixels[..., :3] - 80).max() <= 1


def test_bad_input_is_refused(folders, tmp_path):
    rainy, derained = folders
    page = tmp_path / "page.html"
    assert "no folder missing; give one of images" in error_of(
        compare("missing", derained, "-o", page)
    )
    assert "must end in .html, got one.png" in error_of(compare(*folders, "-o", "one.png"))
    (tmp_path / "empty").mkdir()
    message = error_of(compare(rainy, tmp_path / "empty", "-o", page))
    assert "no image of" in message and "(2 images)" in message and "(0)" in message
    assert "cannot write" in error_of(compare(*folders, "-o", tmp_path / "no/folder.html"))
    save(derained / 'b/two <b>&"_mask.png', "white", (61, 40))
    assert "mask.png has 61 x 40 px" in error_of(compare(*folders, "-o", page))
    save(derained / "one.png", "red", (60, 41))
    (derained / 'b/two <b>&"_mask.png').unlink()
    message = error_of(compare(*folders, "-o", page))
    assert "derained/one.png has 60 x 41 px" in message and "rainy/one.png has 60 x 40" in message
    (rainy / "one.png").write_bytes(b"no image")
    assert "rainy/one.png: not an image" in error_of(compare(*folders, "-o", page))
    assert not page.exists()


PLAY = """
const key = (name, options = {}) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true, ...options}));
const stage = () => document.querySelector("figure:not([hidden]) .compare");
const left = () => parseFloat(
    stage().querySelector(".layer + .layer").style.getPropertyValue("--left"));
const zoom = () => Number(stage().style.getPropertyValue("--zoom"));
const seen = {titles: [document.title], left: [left()]};
key("ArrowDown"); seen.titles.push(document.title);
key("ArrowDown"); seen.titles.push(document.title);
key("ArrowUp"); seen.titles.push(document.title);
key("ArrowRight"); key("ArrowRight"); key("ArrowLeft"); seen.left.push(left());
stage().querySelector("input").focus(); key("ArrowRight"); seen.left.push(left());
key("m"); seen.mask = getComputedStyle(stage().querySelector(".mask")).visibility;
key("+"); seen.zoom = [zoom()]; key("-"); seen.zoom.push(zoom());
const box = stage().getBoundingClientRect();
stage().setPointerCapture = () => {};
const at = (type, x, y, pointerId = 1) => stage().dispatchEvent(new PointerEvent(type, {pointerId,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
at("pointerdown", 0.2, 0.5); at("pointermove", 0.3, 0.9); at("pointerup", 0.3, 0.9);
seen.left.push(left());
// the point under a double click stays; a drag then moves the image, not the border
stage().dispatchEvent(new MouseEvent("dblclick", {
    clientX: box.left + box.width, clientY: box.top + box.height}));
seen.zoom.push(zoom());
const shift = () => ["--x", "--y"].map((name) => parseFloat(stage().style.getPropertyValue(name)));
seen.shift = [shift()];
at("pointerdown", 0.7, 0.5); at("pointermove", 0.9, 0.75); at("pointerup", 0.9, 0.75);
seen.shift.push(shift());
key("ArrowRight", {shiftKey: true}); seen.shift.push(shift());
seen.left.push(left());
key("0"); seen.zoom.push(zoom());
// a pinch to twice the distance
at("pointerdown", 0.4, 0.5, 1); at("pointerdown", 0.5, 0.5, 2); at("pointermove", 0.6, 0.5, 2);
at("pointerup", 0.6, 0.5, 2); at("pointerup", 0.4, 0.5, 1);
seen.zoom.push(zoom());
seen.wide = document.documentElement.scrollWidth > innerWidth;
document.title = JSON.stringify(seen);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_a_reader_plays_with_the_page(folders, tmp_path):
    page = tmp_path / "page.html"
    write_comparison(find_pairs(*folders), page, 100)
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"<script>{{{PLAY}}}</script></body>"), "utf-8")
    dom = browse(page, tmp_path / "profile", "--dump-dom")
    seen = json.loads(unescape(re.search(r"<title>(.*?)</title>", dom, re.S)[1]))
    two = 'b/two <b>&".png'
    assert seen["titles"] == [two, "one.png", "one.png", two]
    assert seen["left"] == pytest.approx([50, 52, 54, 30, 30])
    assert seen["mask"] == "visible"
    assert seen["zoom"] == pytest.approx([1.5, 1, 4, 1, 2])
    # all but the corner clicked is out of sight on the left and above
    assert seen["shift"][0] == pytest.approx([-300, -300], abs=1)  # whole pixels
    assert seen["shift"][1] == pytest.approx([-280, -275], abs=1)
    assert seen["shift"][2] == pytest.approx([-300, -275], abs=1)  # the edge stops it
    assert not seen["wide"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_the_image_has_its_two_parts_under_the_mask(folders, tmp_path):
    page, image = tmp_path / "page.html", tmp_path / "page.png"
    write_comparison(find_pairs(*folders), page, 100)
    text = page.read_text(encoding="utf-8")
    play = """<script>mask.click();
        document.body.replaceChildren(figures[0].querySelector(".compare"));
        document.body.style.cssText = "margin:0;padding:0";</script></body>"""
    page.write_text(text.replace("</body>", play), "utf-8")
    browse(page, tmp_path / "profile", f"--screenshot={image}", "--window-size=900,600")
    row = np.asarray(Image.open(image).convert("RGB")).astype(int)[500]
    assert row[200][0] > 100 and row[200][2] > 200  # the mask's magenta over blue
    assert np.abs(row[400] - row[200]).max() <= 6
    assert np.abs(row[700] - (255, 0, 0)).max() <= 6
