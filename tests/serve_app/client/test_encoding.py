"""Encoding of features."""

import json

import numpy as np
import pytest

from serve_app.client.encoding import DOUBLE, SINGLE, as_array, encode_raw, encode_request
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


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_missing_values(dtype):
    """With `missing_values` NaN is sent in both forms of a body, among unchanged numbers."""
    features = np.array([[0.1, np.nan], [1e-30, 3.0]])
    request = {"symbol": "S", "features": features}
    raw = encode_raw(request, dtype, missing_values=True)
    text = encode_request(request, dtype, missing_values=True)
    for sent in (np.frombuffer(raw.content, dtype), np.ravel(json.loads(text)["features"])):
        np.testing.assert_array_equal(sent.astype(dtype), features.ravel().astype(dtype))


def test_infinity_is_no_missing_value():
    """With `missing_values` infinity and numbers beyond the type are rejected as without it."""
    for value in (np.inf, 1e39):
        with pytest.raises(InvalidFeaturesError, match=r"at \[1\] \(1 such elements in all\)"):
            as_array([np.nan, value], SINGLE, missing_values=True)
