"""The built site in Chromium: `make test-site`, after `make docs`."""

import base64
import contextlib
import functools
import http.server
import io
import json
import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.datasets.photos import built_in_photographs
from evaluation.datasets.synthetic.scenes import draw_scene
from jorder_preproc import derain, load_model, synthesize_rain
from jorder_preproc.images import float_to_pixels
from tests.evaluation.browser import CHROMIUM, FLAGS

SITE = Path(__file__).parents[1] / "site"
HTML = sorted(SITE.rglob("*.html"))


@contextlib.contextmanager
def served(extra):
    """The site on a local server, with `extra` files by path; yields its address and results.

    What a page posts is appended to the results.
    """
    posted, arrived = [], threading.Semaphore(0)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            content = extra.get(self.path)
            if content is None:
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(self.path))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self):
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            arrived.release()

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=SITE)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posted, arrived
    finally:
        server.shutdown()
        server.server_close()


def play(page, script, extra, profile, seconds=400):
    """What a script, run in a page of the site, gives to `say`; other hosts cannot be reached."""
    text = (SITE / page).read_text(encoding="utf-8")
    ending = f"""<script type="module">
        const say = (found) => fetch("/said", {{method: "POST", body: JSON.stringify(found)}});
        addEventListener("error", (event) => say({{error: event.message}}));
        try {{ {script} }} catch (error) {{ say({{error: String(error.stack)}}); }}
        </script></body>"""
    extra = {**extra, "/played.html": text.replace("</body>", ending).encode()}
    with served(extra) as (address, posted, arrived):
        flags = [*FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        flags.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        with subprocess.Popen(
            [CHROMIUM, *flags, f"{address}/played.html"], stderr=subprocess.DEVNULL
        ) as browser:
            try:
                assert arrived.acquire(timeout=seconds), "the page did not answer in time"
            finally:
                browser.terminate()
    found = json.loads(posted[0])
    assert "error" not in found, found["error"]
    return found


def to_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def images():
    """Ten images, uint8 (3, H, W): photographs and scenes in several kinds of rain, one dry."""
    clean = [load()[:, -203:, :255] for load in built_in_photographs().values()]
    clean += [
        torch.from_numpy(draw_scene(np.random.default_rng(seed)).image).permute(2, 0, 1) / 255
        for seed in range(4)
    ]
    presets = ["light", "heavy", "rain800", "storm", "severity_3"]
    rainy = [
        synthesize_rain(image, presets[i % 5], seed=0, image_id=i).rainy.clamp(0, 1)
        for i, image in enumerate(clean)
    ]
    rainy[9] = clean[9]
    return [float_to_pixels(image, torch.uint8) for image in rainy]


def test_the_page_gives_what_python_gives(images, tmp_path):
    assert len(images) == 10
    script = """
        const root = document.querySelector("#try"), found = [];
        const settled = () => new Promise((resolve) => {
            const timer = setInterval(() => {
                if (!["done", "failed"].includes(root.dataset.state)) return;
                clearInterval(timer);
                resolve(root.querySelector("[role=status]").textContent);
            }, 20);
        });
        const base64 = async (blob) => new Promise((resolve) => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result.split(",")[1]);
            reader.readAsDataURL(blob);
        });
        for (let i = 0; i < COUNT + 1; i++) {
            const blob = i < COUNT ? await (await fetch(`/images/${i}.png`)).blob()
                : new Blob(["no image"]);
            const files = new DataTransfer();
            files.items.add(new File([blob], "x.png", {type: "image/png"}));
            root.dataset.state = "";
            if (i % 2) {
                root.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true}));
            } else {
                const input = root.querySelector("input[type=file]");
                input.files = files.files;
                input.dispatchEvent(new Event("change"));
            }
            const status = await settled();
            if (i === COUNT) { found.push({status}); break; }
            const mask = root.querySelector("canvas.mask");
            const saved = await (await fetch(root.querySelector("#save").href)).blob();
            const covered = await new Promise((resolve) => mask.toBlob(resolve));
            found.push({status, derained: await base64(saved), mask: await base64(covered)});
        }
        const hosts = performance.getEntriesByType("resource").map(({name}) => new URL(name).host);
        say({found, elsewhere: hosts.filter((host) => host && host !== location.host)});
    """
    extra = {f"/images/{i}.png": to_png(image) for i, image in enumerate(images)}
    said = play("try.html", script.replace("COUNT", "10"), extra, tmp_path / "profile")
    assert said["elsewhere"] == []
    *found, failed = said["found"]
    assert failed["status"].startswith("That did not work: this is not an image")
    network = load_model()
    unchanged = 0
    for image, page in zip(images, found, strict=True):
        expected = derain(network, image, with_region_mask=True)
        derained, mask = (
            torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(page[kind])))))
            for kind in ("derained", "mask")
        )
        difference = (derained[..., :3].permute(2, 0, 1).int() - expected.background.int()).abs()
        assert difference.max() <= 2
        seen, covered = expected.region_mask[0] > 0, mask[..., 3] > 0
        assert (seen == covered).float().mean() > 0.999
        probability = float(re.search(r"rain: (\d\.\d+)", page["status"])[1])
        assert probability == pytest.approx(float(expected.rain_probability), abs=0.0051)
        same = bool((expected.background == image).all())
        assert ("unchanged" in page["status"]) == same
        unchanged += same
    assert unchanged == 1


def test_nothing_comes_from_elsewhere():
    assert len(HTML) > 20
    loaded = re.compile(
        r"""<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=["'](https?:)?//"""
    )
    for page in HTML:
        text = page.read_text(encoding="utf-8")
        assert not loaded.search(text), page
        assert "fonts.g" not in text, page
    for style in SITE.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?https?:", style.read_text("utf-8")), style


def test_pages_fit_a_phone(tmp_path):
    script = """
        const frame = document.createElement("iframe");
        frame.style.cssText = "width:390px;height:844px;border:0";
        document.body.append(frame);
        const wide = {};
        for (const page of PAGES) {
            await new Promise((resolve) => { frame.onload = resolve; frame.src = page; });
            const root = frame.contentDocument.documentElement;
            if (root.scrollWidth > 390) wide[page] = root.scrollWidth;
            const broken = [...frame.contentDocument.images].filter(
                (image) => image.complete && !image.naturalWidth && image.src);
            if (broken.length) wide[page] = broken.map((image) => image.src);
        }
        say({wide});
    """
    pages = json.dumps([page.relative_to(SITE).as_posix() for page in HTML])
    said = play("index.html", script.replace("PAGES", pages), {}, tmp_path / "profile")
    assert said["wide"] == {}
