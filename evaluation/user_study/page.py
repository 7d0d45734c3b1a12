"""A blinded page of paired comparisons: one HTML file that works offline."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.report.pages import page_environment
from jorder_preproc.atomic import atomic_path
from jorder_preproc.compare import jpeg_uri, read_for_page
from jorder_preproc.errors import UserError
from jorder_preproc.image_files import list_images

PAGE = "study.html"
KEY = "key.json"

_LONGEST_PX = 800


@dataclass(frozen=True)
class Key:
    """What the codes on the page stand for; participants must not see it.

    Attributes:
        study: identifies the page; votes carry it.
        methods: name of each method, by its code.
        images: name of each image, by its code.
    """

    study: str
    methods: dict[str, str]
    images: dict[str, str]


def write_study(
    methods: Mapping[str, Path], out: Path, rainy: Path | None = None, seed: int = 0
) -> Key:
    """Write `study.html` for the participants and `key.json` for the evaluation.

    Every pair of methods is compared on every image; each participant sees the pairs in a random
    order and with random sides.

    Args:
        methods: folder of results of each method, by its name, at least two. All have images of
            the same file names (without suffix) and sizes.
        out: folder to write to.
        rainy: folder of the input images, which the page shows on request.
        seed: of the codes.

    Raises:
        UserError: fewer than two methods, a missing folder or image, or different sizes.
    """
    if len(methods) < 2:
        raise UserError(f"a comparison needs at least two methods, got {', '.join(methods) or 0}")
    folders = dict(methods) if rainy is None else {**methods, "rainy": rainy}
    if len(folders) == len(methods) and rainy is not None:
        raise UserError("a method cannot be named `rainy`, which is the input")
    files = {name: _files(folder) for name, folder in folders.items()}
    names = sorted(next(iter(files.values())))
    for name, own in files.items():
        if sorted(own) != names:
            odd = sorted(set(own) ^ set(names))[0]
            raise UserError(
                f"all folders need the same images, but {odd!r} is not in all of them: "
                f"{folders[name]} has {len(own)}, {next(iter(folders.values()))} has {len(names)}"
            )
    rng = np.random.default_rng(seed)
    method_codes = _codes("m", list(methods), rng)
    image_codes = _codes("i", names, rng)
    pixels: dict[str, dict[str, str]] = {}
    for name in names:
        uris = {}
        size = None
        for method, own in files.items():
            uri, own_size = _data_uri(own[name])
            if size not in (None, own_size):
                raise UserError(f"{own[name]} is {own_size}, the same image elsewhere is {size}")
            size = own_size
            uris[method_codes.get(method, "rainy")] = uri
        pixels[image_codes[name]] = uris
    pairs = [
        {"image": image, "methods": pair}
        for image in sorted(pixels)
        for pair in itertools.combinations(sorted(method_codes.values()), 2)
    ]
    document = json.dumps({"pixels": pixels, "pairs": pairs}, sort_keys=True)
    study = hashlib.sha256(document.encode()).hexdigest()[:16]
    key = Key(
        study=study,
        methods={code: name for name, code in sorted(method_codes.items())},
        images={code: name for name, code in sorted(image_codes.items())},
    )
    _keep_other_key(out / KEY, study)
    template = page_environment(Path(__file__).parent).get_template("page.html.j2")
    page = template.render(
        # within a script element only `</` could end the data
        study=study,
        data=document.replace("</", "<\\/"),
        pairs=len(pairs),
        has_input=rainy is not None,
    )
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / PAGE) as file, atomic_path(out / KEY) as key_file:
        file.write_text(page, encoding="utf-8")
        key_file.write_text(json.dumps(asdict(key), indent=1) + "\n", encoding="utf-8")
    return key


def _keep_other_key(path: Path, study: str) -> None:
    """Votes of a study can be counted with its key alone."""
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, TypeError, LookupError):
        earlier = "unknown"
    if earlier != study:
        raise UserError(
            f"{path} is the key of another study ({earlier}), whose votes are lost without it; "
            "choose another --out, or remove the folder"
        )


def _files(folder: Path) -> dict[str, Path]:
    found = list_images(folder, recursive=False) if folder.is_dir() else []
    if not found:
        raise UserError(f"no images in {folder}")
    return {path.stem: path for path in found}


def _codes(prefix: str, names: list[str], rng: np.random.Generator) -> dict[str, str]:
    order = rng.permutation(len(names))
    return {name: f"{prefix}{place}" for name, place in zip(names, order, strict=True)}


def _data_uri(path: Path) -> tuple[str, tuple[int, int]]:
    """The image for the page, and its size before it was scaled down for it."""
    image = Image.fromarray(read_for_page(path))
    size = image.size
    image.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.LANCZOS)
    return jpeg_uri(image, quality=92, subsampling=0), size
