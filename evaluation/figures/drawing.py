"""Figures of matplotlib and contact sheets, as files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from jorder_preproc.atomic import atomic_path

_QUALITIES = (90, 80, 70, 60, 50)


def new_figure(width: float = 7.0, height: float = 3.2) -> Figure:
    """A matplotlib figure, in inches, that needs no display."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def save_figure(figure: Image.Image | Figure, path: Path, max_bytes: int | None = None) -> Path:
    """Write a contact sheet as JPEG, or a matplotlib figure as PNG.

    Args:
        figure: what to write.
        path: where, without a suffix.
        max_bytes: limit of a sheet's file; JPEG quality, then size, are lowered to meet it.

    Returns:
        The file.
    """
    path = path.with_name(f"{path.name}.{'jpg' if isinstance(figure, Image.Image) else 'png'}")
    with atomic_path(path) as temporary:
        if isinstance(figure, Image.Image):
            temporary.write_bytes(_to_jpeg(figure, max_bytes))
        else:
            figure.savefig(temporary, format="png", metadata={"Software": None})
    return path


def _to_jpeg(image: Image.Image, max_bytes: int | None) -> bytes:
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, optimize=True)
            if max_bytes is None or file.tell() <= max_bytes:
                return file.getvalue()
        image = image.resize(
            (image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS
        )
