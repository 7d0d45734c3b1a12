"""What HTML pages that need no other file are made of: templates and embedded images."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
from PIL import Image


def page_environment(folder: Path) -> jinja2.Environment:
    """The templates of a folder; what they use must be defined, and is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def jpeg_uri(image: Image.Image, quality: int, subsampling: int = 2) -> str:
    """An RGB image as the data URI of a JPEG file; see Pillow for the options."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
