"""Seeds of every kind of file that users hand in, and random damage to them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image, ImageCms

from evaluation.downstream.cache import CachedJorderDerain
from evaluation.downstream.records import RecordStore
from evaluation.report import schema
from evaluation.report.paper_numbers import paper_rows
from jorder_preproc.image_files import ImageFile, write_image
from jorder_preproc.models.shipped import SHIPPED_WEIGHTS

HEIGHT, WIDTH = 18, 25
"""Of the seed images, px."""

Files = dict[str, bytes]
"""Contents by name; the first is the one to damage, the others lie beside it."""

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JSON_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1e308, "", "\0", "é" * 5000, "../../etc/passwd", "/etc/passwd"),
    *("<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", [], {}, [[]], {"a": {}}),
)


def damage(files: Files, rng: np.random.Generator) -> Files:
    """Damage the first file, at random; half of the damage is where headers are."""
    name, content = next(iter(files.items()))
    if name.endswith(".json") and rng.random() < 0.7:
        content = _damage_values(content, rng)
    elif name.endswith(".npz") and rng.random() < 0.6:
        content = _damage_member(content, rng)
    else:
        for _ in range(rng.integers(1, 4)):
            content = _damage_bytes(content, rng)
        if content.startswith(_PNG_START) and rng.random() < 0.6:
            content = with_checksums(content)
    return {**files, name: content}


def _damage_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    size = max(len(data), 1)
    start = int(rng.integers(min(size, 300)) if rng.random() < 0.5 else rng.integers(size))
    length = int(rng.integers(1, 40))
    match rng.integers(8):
        case 0:
            for place in rng.integers(start, min(start + 200, size), 4):
                data[place % size : place % size + 1] = bytes([rng.integers(256)])
        case 1:
            data[start : start + 1] = bytes(
                [byte ^ (1 << rng.integers(8)) for byte in data[start : start + 1]]
            )
        case 2:
            del data[start:]
        case 3:
            del data[start : start + length]
        case 4:
            data[start:start] = rng.bytes(length)
        case 5:
            data[start:start] = data[start : start + length] * int(rng.integers(1, 50))
        case 6:
            data[start : start + length] = bytes(length)
        case _:
            width, order = rng.choice(["H", "I"]), rng.choice(["<", ">"])
            value = _EXTREMES[rng.integers(len(_EXTREMES))] & (0xFFFF if width == "H" else -1)
            number = struct.pack(f"{order}{width}", value)
            data[start : start + len(number)] = number
    return bytes(data)


def _damage_values(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace or remove values of a JSON document, which stays JSON."""
    document = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[rng.integers(len(keys))]
            inner = place[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
                place = inner
                continue
            if rng.random() < 0.15:
                del place[key]
            else:
                place[key] = _JSON_VALUES[rng.integers(len(_JSON_VALUES))]
            break
    return json.dumps(document).encode()


def _damage_member(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in a zip archive, whose checksums stay right."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        damaged = names[rng.integers(len(names))]
        for name in names:
            data = old.read(name)
            new.writestr(name, _damage_bytes(data, rng) if name == damaged else data)
    return written.getvalue()


def with_checksums(content: bytes) -> bytes:
    """A PNG file with the checksums that its chunks should have, so that decoders go on."""
    data, start = bytearray(content), len(_PNG_START)
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        start = end + 4
    return bytes(data)


def random_pixels(*shape: int, dtype: Any = np.uint8) -> Any:
    """Noise, the same every time."""
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _images() -> list[Files]:
    rgb = Image.fromarray(random_pixels(HEIGHT, WIDTH, 3))
    rgba = Image.fromarray(random_pixels(HEIGHT, WIDTH, 4))
    grey = rgb.convert("L")
    grey16 = Image.fromarray(random_pixels(HEIGHT, WIDTH, dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"  # orientation, maker
    exif.get_ifd(0x8769)[0x829A] = 0.5  # exposure time
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    described = {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    files = {
        "a.jpg": _encode(rgb, "JPEG", **described),
        "b.jpg": _encode(rgb, "JPEG", progressive=True),
        "c.jpg": _encode(grey, "JPEG"),
        "d.jpg": _encode(rgb.convert("CMYK"), "JPEG"),
        "a.png": _encode(rgb, "PNG", **described),
        "b.png": _encode(rgba, "PNG"),
        "c.png": _encode(rgb.quantize(16), "PNG", transparency=3),
        "d.png": _encode(grey16, "PNG"),
        "a.tif": _encode(rgb, "TIFF", compression="tiff_adobe_deflate", **described),
        "b.tif": _encode(rgba, "TIFF", compression="tiff_lzw"),
        "c.tif": _encode(grey16, "TIFF"),
        "d.tif": _encode(rgb, "TIFF", compression="jpeg"),
        "a.webp": _encode(rgb, "WEBP", **described),
        "b.webp": _encode(rgba, "WEBP", lossless=True),
    }
    with TemporaryDirectory() as folder:  # 16-bit colour, which Pillow cannot write
        path = Path(folder) / "e.png"
        colour = random_pixels(HEIGHT, WIDTH, 3, dtype=np.uint16)
        write_image(path, ImageFile(colour, colour[..., 0], False, "PNG", {"dpi": (300, 300)}))
        files[path.name] = path.read_bytes()
    return [{name: content} for name, content in files.items()]


def _shipped(*names: str) -> Files:
    return {name: (SHIPPED_WEIGHTS / name).read_bytes() for name in names}


def _onnx() -> list[Files]:
    image: list[str | int | None] = ["n", 3, "h", "w"]
    kernel = helper.make_tensor("k", TensorProto.FLOAT, [3, 3, 3, 3], np.full(81, 0.02).tolist())
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["rainy", "k"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Clip", ["c"], ["background"]),
        ],
        "derainer",
        [helper.make_tensor_value_info("rainy", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("background", TensorProto.FLOAT, image)],
        [kernel],
    )
    opset = helper.make_opsetid("", 17)
    return [
        {
            "a.onnx": onnx.ModelProto.SerializeToString(
                helper.make_model(graph, ir_version=8, opset_imports=[opset])
            )
        }
    ]


def _results() -> list[Files]:
    values = dict(clean=0.9, rainy=0.4, derained=0.8, clean_derained=0.89)
    metric = schema.Metric(
        **values,
        recovery=0.8,
        interval=(0.75, 0.86),
        intervals={"clean": (0.88, 0.92), "rainy": (0.3, 0.5)},
        harm=-0.01,
        harm_interval=(-0.02, 0.0),
    )
    names = ("clean", "rainy", "derained")
    results = schema.Results(
        task="classification",
        title="resnet50",
        command="python -m evaluation classification",
        dataset=schema.Dataset("scenes", "/data", 240, True, ("broken.jpg",)),
        model=schema.Model("resnet50", "a.pth", "ab" * 32),
        rain=schema.Rain(),
        derainer=schema.Derainer(),
        derainer_sha256="ab" * 32,
        deveil_sha256=None,
        metrics={"top-1": metric},
        classes=schema.Classes("top-1", (schema.ClassRow("car", **values),)),
        mcnemar=schema.PairedTest(12, 5, 0.01),
        images_per_second={"clean": 60.0, "rainy": 30.0},
        paper=paper_rows("classification")[:1],
        samples=(
            schema.Sample(
                "a.png", "car", {name: f"samples/{name}.png" for name in names}, {"rainy": "bus"}
            ),
        ),
        origins=(schema.Origin(240, "2026-01-01", "2026-01-02", {"torch": "2"}, {"cpu": "x"}),),
    )
    image = _encode(Image.fromarray(random_pixels(HEIGHT, WIDTH, 3)), "PNG")
    samples = {f"samples/{name}.png": image for name in names}
    return [{"results.json": schema.to_json([results]).encode(), **samples}]


def _samples() -> list[Files]:
    """Reports whose first sample is an image of any format, under the name of the seed."""
    (report,) = _results()
    return [
        {"samples/clean.png": content, **{k: v for k, v in report.items() if "clean" not in k}}
        for files in _images()
        for content in files.values()
    ]


def _records() -> list[Files]:
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        store = RecordStore(Path(folder), {"machine": {"cpu": "x"}})
        for index in range(5):
            store.add(
                index,
                {"scores": rng.random((index, 4)), "target": np.array(index), "n": rng.random(9)},
            )
        store.flush()
        (path,) = Path(folder).iterdir()
        return [{path.name: path.read_bytes()}]


def _cache() -> list[Files]:
    with TemporaryDirectory() as folder:
        CachedJorderDerain(folder)({"img": random_pixels(HEIGHT, WIDTH, 3)})
        (path,) = Path(folder).rglob("*.png")
        return [{path.relative_to(folder).as_posix(): path.read_bytes()}]


SEEDS: dict[str, Callable[[], list[Files]]] = {
    "image": _images,
    "weights": lambda: [
        _shipped("jorder_deveil_lite.safetensors"),
        _shipped("jorder_e_lite.safetensors"),
    ],
    "onnx": _onnx,
    "results": _results,
    "records": _records,
    "sample": _samples,
    "ranges": lambda: [_shipped("jorder_e_lite.int8.json", "jorder_e_lite.safetensors")],
    "cache": _cache,
}
"""Gives the files of each kind before they are damaged."""
