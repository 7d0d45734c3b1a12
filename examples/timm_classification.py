"""Deraining in front of the transforms that a timm model was trained with.

    python -m examples.timm_classification

The same with torchvision: Compose([JorderDerain(), weights.transforms()]).
"""

from __future__ import annotations

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms import Compose

from examples.photograph import print_quality, rainy_photograph
from jorder_preproc import JorderDerain


def main() -> None:
    model = timm.create_model("test_resnet", pretrained=False).eval()  # True downloads weights
    derain = JorderDerain()
    # before Resize: the network knows streaks at the size at which the camera took them
    transform = Compose([derain, create_transform(**resolve_model_data_config(model))])

    image = Image.fromarray(rainy_photograph())
    with torch.inference_mode():
        logits = model(transform(image)[None])
    print(f"{logits.shape[1]} classes")
    print_quality(np.asarray(derain(image)))


if __name__ == "__main__":
    main()
