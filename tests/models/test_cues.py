import torch
from torch.nn.functional import conv2d

from jorder_preproc.models.cues import ImageCues


def randomized():
    torch.manual_seed(0)
    cues = ImageCues(8).double()
    for parameter in cues.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return cues


def test_it_is_the_network_written_out():
    cues = randomized()
    w = cues.state_dict()
    image = torch.rand(2, 3, 24, 32, dtype=torch.float64)
    # a cell of 4 x 4 px becomes 48 channels: colour, then row, then column
    cells = image.reshape(2, 3, 6, 4, 8, 4).permute(0, 1, 3, 5, 2, 4).reshape(2, 48, 6, 8)
    for k, stride in enumerate((1, 1, 2, 1, 2)):
        kernel, bias = w[f"convs.{k}.weight"], w[f"convs.{k}.bias"]
        cells = conv2d(cells, kernel, bias, stride, padding=1).clamp(min=0)
    features = cues.features(image)
    torch.testing.assert_close(features, cells)
    assert features.shape == (2, 96, 2, 2)
    described = []
    for one in cells.numpy():
        mean = [float(channel.sum() / channel.size) for channel in one]
        root = [float(((channel**2).sum() / channel.size + 1e-6) ** 0.5) for channel in one]
        described.append(mean + root)
    described = torch.tensor(described, dtype=torch.float64)
    expected = (described @ w["summary.weight"].T + w["summary.bias"]).clamp(min=0)
    torch.testing.assert_close(cues(features), expected)


def test_a_cell_depends_on_nothing_beyond_its_reach():
    cues = ImageCues(8).double()
    for parameter in cues.parameters():  # all positive, so that no ReLU cuts a path off
        torch.nn.init.constant_(parameter, 0.01)
    cell, reach = cues.cell_px, cues.reach
    image = torch.full((1, 3, 16, 13 * cell), 0.5, dtype=torch.float64, requires_grad=True)
    cues.features(image)[..., 6].sum().backward()
    seen = image.grad.abs().amax((0, 1, 2)).nonzero()
    assert 6 * cell - seen.min() == reach
    assert seen.max() - (7 * cell - 1) <= reach


def test_the_description_does_not_depend_on_the_size():
    cues = randomized()
    features = torch.rand(1, 96, 3, 4, dtype=torch.float64)
    larger = features.repeat(1, 1, 5, 2)
    torch.testing.assert_close(cues(larger), cues(features))
