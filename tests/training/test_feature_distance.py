import numpy as np
import pytest
import torch
from torchvision.models import squeezenet1_1

from training.feature_distance import FeatureDistance


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("squeezenet") / "weights.pth"
    torch.save(squeezenet1_1().state_dict(), path)
    return path


def test_it_is_the_definition_in_loops(weights):
    distance = FeatureDistance(str(weights))
    reference = squeezenet1_1().eval()
    reference.load_state_dict(torch.load(weights, weights_only=True))
    predicted, target = torch.rand(2, 2, 3, 40, 44)
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    expected = 0.0
    with torch.no_grad():
        for last in (1, 4, 7, 9, 12):
            features = [
                reference.features[: last + 1]((image - mean) / std).double().numpy()
                for image in (predicted, target)
            ]
            per_pixel = []
            for n, y, x in np.ndindex(2, *features[0].shape[2:]):
                one, other = (f[n, :, y, x] for f in features)
                lengths = (max(np.linalg.norm(v), 1e-12) for v in (one, other))
                one, other = (v / length for v, length in zip((one, other), lengths, strict=True))
                per_pixel.append(((one - other) ** 2).sum())
            expected += np.mean(per_pixel)
    assert distance(predicted, target).item() == pytest.approx(expected, rel=1e-4)


def test_equal_images_have_none_and_the_gradient_goes_to_the_prediction(weights):
    distance = FeatureDistance(str(weights)).train()
    assert not any(module.training for module in distance.modules())
    image = torch.rand(1, 3, 32, 32)
    assert distance(image, image).item() == 0
    predicted = (image + 0.1).requires_grad_()
    distance(predicted, image).backward()
    assert predicted.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in distance.parameters())
