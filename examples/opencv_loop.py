"""A loop over frames of OpenCV, which are BGR.

    python -m examples.opencv_loop

For video files `jorder derain CLIP -o OUT` keeps sound and resumes.
"""

from __future__ import annotations

import cv2

from examples.photograph import print_quality, rainy_photograph
from jorder_preproc import derain_bgr, load_model


def main() -> None:
    network = load_model()
    frames = [cv2.cvtColor(rainy_photograph(), cv2.COLOR_RGB2BGR)]  # or those of a VideoCapture
    for frame in frames:
        derained = derain_bgr(network, frame)
        print_quality(cv2.cvtColor(derained, cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    main()
