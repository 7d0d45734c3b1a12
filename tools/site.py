"""MkDocs hook: pages and files of the site that lie outside of docs/, and links to them.

Links in Markdown files lead from file to file of the repository, as GitHub follows them. On the
site they lead to the file's page; where the site has none, the text of the link stays.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "build/site"
"""Made by `make docs`: the exported network and onnxruntime-web."""

_CARDS = ("jorder_preproc/weights", "evaluation/datasets/synthetic/weights")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.M | re.S)


def pages() -> dict[str, str]:
    """Path on the site of each page, by its path in the repository."""
    found = {"README.md": "index.md"}
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        found[name] = name.lower()
    for folder in _CARDS:
        for card in sorted((ROOT / folder).glob("*.md")):
            found[f"{folder}/{card.name}"] = f"cards/{card.name}"
    for page in (ROOT / "docs").rglob("*.md"):
        found[page.relative_to(ROOT).as_posix()] = page.relative_to(ROOT / "docs").as_posix()
    return found


def assets() -> dict[str, Path]:
    """Files of the page that runs the network, by their path on the site.

    Scripts end in `.js`, since not every server knows the type of `.mjs`.
    """
    runtime = ASSETS / "node_modules/onnxruntime-web/dist"
    web = ROOT / "jorder_preproc/web"
    return {
        "try/compare.js": web / "compare.js",
        "try/compare.css": web / "compare.css",
        "try/derainer.onnx": ASSETS / "derainer.onnx",
        "try/example.png": ASSETS / "example.png",
        "try/ort.js": runtime / "ort.wasm.bundle.min.mjs",
        "try/ort.wasm": runtime / "ort-wasm-simd-threaded.wasm",
    }


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside of docs/."""
    outside = {page: ROOT / source for source, page in pages().items()}
    for path, source in {**outside, **assets()}.items():
        if not source.is_file():
            raise PluginError(f"the site needs {source}; build it with `make docs`")
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    known = pages()
    (source,) = [source for source, path in known.items() if path == page.file.src_uri]
    parts = _CODE.split(markdown)  # every second part is code
    parts[::2] = [_LINK.sub(lambda link: _to_site(link, source, known), p) for p in parts[::2]]
    return "".join(parts)


def _to_site(link: re.Match[str], source: str, known: dict[str, str]) -> str:
    image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
    if not target or ":" in target:
        return link[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    path = known.get(file)
    if path is None and file.startswith("docs/"):
        path = file.removeprefix("docs/")
    if path is None:
        return text
    start = posixpath.dirname(known[source]) or "."
    return f"{image}[{text}]({posixpath.relpath(path, start)}{anchor})"
