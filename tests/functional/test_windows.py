import numpy as np
import pytest

from jorder_preproc.functional.windows import spans


def test_every_tile_starts_on_a_multiple_and_fits():
    found = list(spans(501, 200, 84, 2, 2))
    covered = np.concatenate([np.arange(501)[span.target] for span in found])
    np.testing.assert_array_equal(covered, np.arange(501))
    for span in found:
        assert span.source[0] % 2 == 0 and len(span.source) % 2 == 0 and len(span.source) <= 200
        np.testing.assert_array_equal(span.source[span.keep], np.arange(501)[span.target])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_padding_reflects_like_numpy(size):
    (span,) = spans(size, None, 84, 4, 4)
    expected = np.pad(np.arange(size), (0, len(span.source) - size), mode="reflect")
    np.testing.assert_array_equal(span.source, expected)
    assert len(span.source) % 4 == 0 and len(span.source) >= 16
