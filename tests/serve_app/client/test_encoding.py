"""Encoding of features."""

import numpy as np
import pytest

from serve_app.client.encoding import DOUBLE, SINGLE, as_array
from serve_app.errors import InvalidFeaturesError


def test_no_copy():
    """A contiguous float32 array is returned as it is, not copied."""
    window = np.zeros((60, 110), np.float32)
    assert as_array(window, SINGLE) is window


def test_doubles_are_kept():
    """Doubles and integers are sent as float64 without a change."""
    assert as_array([[65432.12, 2**53]], DOUBLE).tolist() == [[65432.12, 2**53]]
    assert as_array(np.float32([0.1]), DOUBLE)[0] == np.float32(0.1)


@pytest.mark.parametrize("features", [[2**53 + 2], np.array([0.1], np.longdouble)])
def test_numbers_that_float64_rounds_are_rejected(features):
    """A number that float64 would round is not sent."""
    with pytest.raises(InvalidFeaturesError, match="within float64, received"):
        as_array(features, DOUBLE)
