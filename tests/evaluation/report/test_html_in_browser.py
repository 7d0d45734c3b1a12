"""`report.html` in a browser: Chromium without a window, and nothing to reach."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from evaluation.report.html import write_report
from tests.evaluation.browser import CHROMIUM, browse
from tests.evaluation.report.example import classification, detection, segmentation, with_samples

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium to open the page in: apt-get install chromium"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    results = [with_samples(classification(40), folder), segmentation(), detection()]
    write_report(results, folder)
    return folder


def dump_after(script, folder, tmp_path):
    """The page as it is after its own script and another one that plays the reader.

    What that one returns stands in the title.
    """
    text = (folder / "report.html").read_text(encoding="utf-8")
    play = f"<script>document.title = JSON.stringify((() => {{{script}}})());</script></body>"
    page = tmp_path / "played.html"
    page.write_text(text.replace("</body>", play), encoding="utf-8")
    dom = browse(page, tmp_path / "profile", "--dump-dom")
    return re.search(r"<title>(.*?)</title>", dom, re.S)[1]


def screenshot(folder, tmp_path, *arguments):
    image = tmp_path / "page.png"
    browse(
        folder / "report.html",
        tmp_path / "profile",
        f"--screenshot={image}",
        "--window-size=1000,900",
        *arguments,
    )
    return np.asarray(Image.open(image).convert("L"), float)


def test_the_script_runs_and_the_numbers_are_there(folder, tmp_path):
    dom = browse(folder / "report.html", tmp_path / "profile", "--dump-dom")
    assert '<html lang="en" class="js">' in dom
    # the script enables what needs it
    assert "disabled" not in re.sub(r"<(style|script)>.*?</\1>", "", dom, flags=re.S)
    for number in ("72.40", "45.12", "68.04", "84.0", "76.7", "37.31", "77.2", "68.5"):
        assert f">{number}<" in dom
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", dom)
    assert "http:" not in dom and "https:" not in dom


def test_headings_sort_all_classes(folder, tmp_path):
    script = """
        const box = document.querySelector(".classes");
        const rows = () => [...box.querySelectorAll("tbody tr")];
        const names = () => rows().map((row) => row.cells[0].textContent);
        const values = (column) => rows().map((row) => row.cells[column].dataset.value ?? "none");
        const click = (column) => box.querySelectorAll("thead")[0].rows[0].cells[column]
            .querySelector("button").click();
        click(2); const down = values(2);
        click(2); const up = values(2);
        click(0);
        const heads = [...box.querySelectorAll("thead")].map(
            (head) => head.querySelector("[aria-sort]").cellIndex);
        return [down, up, names(), heads, box.querySelectorAll("table")[0].tBodies[0].rows.length];
    """
    down, up, names, heads, shown = json.loads(dump_after(script, folder, tmp_path))
    rows = classification(40).classes.rows
    clean = sorted(row.clean for row in rows if row.name != "never seen")
    # what has no value is last both ways
    assert up[-1] == down[-1] == "none"
    assert [float(value) for value in up[:-1]] == clean
    assert [float(value) for value in down[:-1]] == clean[::-1]
    assert names == sorted(row.name for row in rows)
    assert heads == [0, 0] and shown == 30


def test_borders_move_by_keys_pointer_and_names(folder, tmp_path):
    script = """
        const sample = document.querySelector(".sample"), stage = sample.querySelector(".compare");
        const [a, b] = stage.querySelectorAll("input");
        const where = () => [...stage.querySelectorAll(".layer + .layer")].map(
            (layer) => layer.style.getPropertyValue("--left"));
        const key = (input, name) => input.dispatchEvent(new KeyboardEvent("keydown", {key: name}));
        const seen = [where()];
        key(a, "ArrowRight"); seen.push(where());
        a.value = 90; a.dispatchEvent(new Event("input")); seen.push(where());  // takes b along
        const box = stage.getBoundingClientRect();
        stage.setPointerCapture = () => {};
        const at = (type, share) => stage.dispatchEvent(new PointerEvent(type,
            {pointerId: 1, clientX: box.left + share * box.width}));
        at("pointerdown", 0.25); at("pointermove", 0.5); at("pointerup", 0.5);
        at("pointermove", 0.1); seen.push(where());
        const button = sample.querySelector('[data-show="1"]');
        button.click(); seen.push([...where(), button.getAttribute("aria-pressed")]);
        button.click(); seen.push([...where(), button.getAttribute("aria-pressed")]);
        return seen;
    """
    seen = json.loads(dump_after(script, folder, tmp_path))
    assert seen == [
        ["33.3%", "66.7%"],
        ["35.3%", "66.7%"],
        ["90%", "90%"],
        ["50%", "90%"],
        ["0%", "100%", "true"],
        ["33.3%", "66.7%", "false"],
    ]


def test_the_image_has_its_three_parts(folder, tmp_path):
    script = """
        const stage = document.querySelector(".compare");
        document.body.replaceChildren(stage);
        document.body.style.margin = 0;
        return 1;
    """
    dump_after(script, folder, tmp_path)
    image = tmp_path / "stage.png"
    page = tmp_path / "played.html"
    browse(page, tmp_path / "p2", f"--screenshot={image}", "--window-size=900,600")
    pixels = np.asarray(Image.open(image).convert("RGB")).astype(int)
    row = pixels[500]
    for x, colour in ((150, (0, 128, 0)), (450, (0, 0, 255)), (750, (255, 0, 0))):
        assert np.abs(row[x] - colour).max() <= 6, (x, row[x])


def test_the_page_is_drawn_in_light_and_dark(folder, tmp_path):
    light = screenshot(folder, tmp_path)
    assert light.shape == (900, 1000)
    assert light.std() > 15 and np.median(light) > 240
    dark = screenshot(folder, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert dark.std() > 15 and np.median(dark) < 40


def test_a_phone_scrolls_down_only(folder, tmp_path):
    """In a frame as wide as a phone: windows are never narrower than 500 px."""
    script = """
        const frame = document.createElement("iframe");
        frame.style.cssText = "width:375px;height:600px";
        const page = document.documentElement.outerHTML.replace(/<script>[^]*?<\\/script>/g, "");
        document.body.append(frame);
        frame.contentDocument.write(page);
        frame.contentDocument.close();
        const root = frame.contentDocument.documentElement;
        return [root.clientWidth, root.scrollWidth];
    """
    client, scroll = json.loads(dump_after(script, folder, tmp_path))
    assert client == scroll <= 375
