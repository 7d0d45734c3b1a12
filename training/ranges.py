"""`python -m training ranges WEIGHTS PHOTOS`: measure the ranges that `precision="int8"` needs.

The network derains the photographs, each in one kind of rain or dry, in turn. The ranges go into a
file beside the weights, WEIGHTS.int8.json, and belong to these weights alone.
"""

from __future__ import annotations

import itertools

from jorder_preproc.int8 import measure_ranges, save_ranges
from jorder_preproc.models import load_model
from jorder_preproc.rain.identity import image_name
from training.calibrate import CALIBRATION_SEED, RAINS, weights_parser
from training.command_line import command
from training.data import list_photos, read_photo
from training.stick import DRY, draw_pair


@command
def main(arguments: list[str]) -> None:
    """Write the ranges."""
    args = weights_parser("ranges", __doc__).parse_args(arguments)
    network = load_model(args.model, args.weights)
    photos = list_photos(args.photos)
    images = (
        draw_pair(rain, read_photo(path), CALIBRATION_SEED, image_name(path, args.photos)).rainy
        for path, rain in zip(photos, itertools.cycle((*RAINS, DRY)))
    )
    print(f"Wrote {save_ranges(network, measure_ranges(network, images))}")
