import numpy as np
import pytest
import torch

from jorder_preproc.rain import compose


def draw(height=5, width=7, layers=2):
    rng = np.random.default_rng(0)
    background = rng.random((2, 3, height, width))
    streaks = [rng.random((2, 1, height, width)) for _ in range(layers)]
    mask = (rng.random((2, 1, height, width)) > 0.5).astype(float)
    light = rng.random((2, 3, 1, 1))
    return background, streaks, mask, light


@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_compose_matches_pixel_loop(alpha):
    B, S, R, A = draw()
    expected = np.empty_like(B)
    for n, c, y, x in np.ndindex(B.shape):
        lit = B[n, c, y, x] + sum(layer[n, 0, y, x] for layer in S) * R[n, 0, y, x]
        expected[n, c, y, x] = alpha * lit + (1 - alpha) * A[n, c, 0, 0]
    t = torch.from_numpy
    actual = compose(t(B), [t(layer) for layer in S], t(R), alpha, t(A))
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)


def test_transmission_map_acts_pixel_by_pixel():
    B, S, R, A = (torch.from_numpy(np.asarray(v)) for v in (draw()[0], draw()[1][0], *draw()[2:]))
    alpha = torch.linspace(0.5, 1, 7, dtype=torch.float64).expand(2, 1, 5, 7)
    whole = compose(B, S, R, alpha, A)
    for x in range(7):
        column = compose(B, S, R, float(alpha[0, 0, 0, x]), A)
        torch.testing.assert_close(whole[..., x], column[..., x])


def test_no_rain_gives_the_background():
    B, S, _, _ = draw()
    B = torch.from_numpy(B)
    assert torch.equal(compose(B, torch.from_numpy(S[0]), torch.zeros(2, 1, 5, 7)), B)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(5, 7), torch.rand(1, 5, 7), torch.ones(1, 5, 7)), r"background must be"),
        ((torch.rand(3, 5, 7), torch.rand(1, 5, 6), torch.ones(1, 5, 7)), r"streak_layers must"),
        ((torch.rand(3, 5, 7), torch.rand(1, 5, 7), torch.ones(1, 7, 5)), r"region_mask must"),
        (
            (torch.rand(3, 5, 7), torch.rand(1, 5, 7), torch.ones(1, 5, 7), torch.ones(1, 2, 2)),
            r"transmission must",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        compose(*arguments)
