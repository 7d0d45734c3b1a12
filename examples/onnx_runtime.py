"""An exported network with ONNX Runtime, where neither PyTorch nor this package is needed.

python -m examples.onnx_runtime
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from examples.photograph import print_quality, rainy_photograph
from jorder_preproc import load_model
from jorder_preproc.export import export_network


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "derainer.onnx")
        export_network(load_model(), file, "onnx")  # jorder export derainer.onnx
        session = onnxruntime.InferenceSession(file.read_bytes())

    rainy = rainy_photograph().astype(np.float32) / 255
    inputs = {"rainy": rainy.transpose(2, 0, 1)[None]}
    background, probability = session.run(["background", "rain_probability"], inputs)
    print(f"probability of rain {probability[0]:.3f}")
    print_quality((background[0].transpose(1, 2, 0) * 255).round().astype(np.uint8))


if __name__ == "__main__":
    main()
