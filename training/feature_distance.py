"""Perceptual loss: the distance of two images in the features of SqueezeNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.models import squeezenet1_1
from torchvision.transforms.v2.functional import normalize as normalize_image

_LAYERS = (1, 4, 7, 9, 12)  # of SqueezeNet's `features`
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureDistance(nn.Module):
    """Squared distance of SqueezeNet 1.1's features, normalised to unit length over channels.

    It weighs errors by their effect on features, which is what the vision models that follow
    depend on.

    Args:
        weights: state dict in torchvision's layout, as
            `SqueezeNet1_1_Weights.IMAGENET1K_V1` downloads it.

    Raises:
        FileNotFoundError: no such file.
        RuntimeError: the file does not hold weights of SqueezeNet 1.1.
    """

    def __init__(self, weights: str):
        super().__init__()
        network = squeezenet1_1()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.features = network.features[: max(_LAYERS) + 1].eval().requires_grad_(False)
        for layer in self.features.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # it would overwrite features that are compared

    def train(self, mode: bool = True) -> FeatureDistance:
        """Stay in evaluation mode; this network is not trained."""
        return super().train(False)

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The distance, summed over channels and layers, the mean over pixels and images.

        Args:
            predicted, target: float RGB (N, 3, H, W), in [0, 1], H and W at least 17.
        """
        with torch.no_grad():
            expected = self._layers(target)
        pairs = zip(self._layers(predicted), expected, strict=True)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).sum()

    def _layers(self, image: Tensor) -> list[Tensor]:
        features = normalize_image(image, _MEAN, _STD)
        # on CPUs half of the time: the pooling of other layouts is slow
        features = features.contiguous(memory_format=torch.channels_last)
        seen = []
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in _LAYERS:
                seen.append(normalize(features, dim=1))
        return seen
