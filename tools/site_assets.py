"""Files that the site's page "Try it" needs, into build/site/: the network, and an example.

python -m tools.site_assets
"""

from __future__ import annotations

from pathlib import Path

import torch

from evaluation.datasets.photos import built_in_photographs
from jorder_preproc import load_model, synthesize_rain
from jorder_preproc.export import export_network
from jorder_preproc.image_files import write_png
from jorder_preproc.images import float_to_pixels

FOLDER = Path(__file__).parents[1] / "build/site"


def main() -> None:
    """Write `derainer.onnx` and `example.png`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    network = FOLDER / "derainer.onnx"
    network.unlink(missing_ok=True)
    export_network(load_model(), network, "onnx")
    clean = built_in_photographs()["chelsea"]()
    rainy = synthesize_rain(clean, "heavy", seed=0, image_id="chelsea").rainy.clamp(0, 1)
    pixels = float_to_pixels(rainy, torch.uint8)
    write_png(FOLDER / "example.png", pixels.permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
