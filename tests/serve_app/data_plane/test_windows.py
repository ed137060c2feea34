"""Features as windows."""

import numpy as np
import pytest

from serve_app.data_plane.windows import as_window
from serve_app.errors import InvalidFeaturesError, RoundedFeaturesError
from testkit.models import metadata

FLAT = [1, 2.5, 3, 4, 5, 6]
MATRIX = [[1, 2.5], [3, 4], [5, 6]]
DOUBLE = metadata(input_type="float64")


@pytest.mark.parametrize(
    "features", [FLAT, MATRIX, np.array(MATRIX), np.array(FLAT, dtype=np.float16)]
)
def test_flat_and_nested_features_agree(features):
    """Flat and nested features, in lists and arrays, are the same window of float32."""
    window = as_window(features, metadata())
    assert window.dtype == np.float32
    assert window.flags.c_contiguous
    assert window.tolist() == MATRIX


@pytest.mark.parametrize(
    ("features", "received"),
    [
        (FLAT[:-1], "received 5 numbers"),
        ([], "received 0 numbers"),
        ([MATRIX], "received 1 x 3 numbers"),
        (np.array(MATRIX).T, "received 2 x 3 numbers"),
        ([[1, 2], [3], [4, 5]], "rows of different lengths"),
        ([*FLAT[:-1], float("nan")], "received nan at timestep 2, feature 1"),
        ([*FLAT[:-1], float("-inf")], "received -inf at timestep 2, feature 1"),
        ([*FLAT[:-1], 1e39], r"received 1e\+39 at timestep 2, feature 1"),
        ([*FLAT[:-1], "6"], r"received the text '6' at \[5\]"),
        ([*FLAT[:-1], None], r"received null at \[5\]"),
        ([[1, 2], [3, 4], [5, True]], r"received true at \[2, 1\]"),
        ([True, *FLAT[1:]], r"received true at \[0\]"),
        ([False, True, False, True, False, True], r"received false at \[0\]"),
        ([*FLAT[:-1], 10**400], "numbers too large"),
        (None, "received null"),
        ("1,2,3", "received the text"),
        ({"0": 1}, "received an object"),
        (7, "received 1 numbers"),
    ],
)
def test_invalid_features_are_rejected(features, received):
    """Anything but finite numbers in the shape is rejected with what was expected and received."""
    with pytest.raises(InvalidFeaturesError, match=received) as caught:
        as_window(features, metadata())
    assert "expected 6 finite numbers (3 timesteps x 2 features" in str(caught.value)


def test_ones_and_zeros_are_numbers():
    """Ones and zeros are numbers; only booleans among them are rejected."""
    assert as_window([0, 1, 0.0, 1.0, 0, 1], metadata()).tolist() == [[0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    "features",
    [
        [[65432.12, 0.1], [1_764_332_400.000_001, 1e-300], [1e300, 2**53]],
        np.array([[65432.12, 0.1], [1 / 3, 1e-300], [1e300, 0]]).astype(">f8"),
        np.arange(6) + 2**52,
        [1, 2, 3, 4, 5, 2**53],
    ],
)
def test_doubles_arrive_unchanged(features):
    """A model of float64 receives exactly the doubles and the integers that were sent."""
    window = as_window(features, DOUBLE)
    assert window.dtype == np.float64
    assert window.tolist() == np.asarray(features).reshape(3, 2).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.longdouble])
def test_rounded_features_are_rejected(dtype):
    """Numbers in a type that has fewer or more digits than float64 are rejected, not converted."""
    with pytest.raises(RoundedFeaturesError, match=f"received {np.dtype(dtype)}, which may have"):
        as_window(np.array(MATRIX, dtype=dtype), DOUBLE)


def test_integers_beyond_float64_are_rejected():
    """An integer that float64 would round is rejected."""
    with pytest.raises(RoundedFeaturesError, match="received int64"):
        as_window(np.array([1, 2, 3, 4, 5, 2**53 + 2]), DOUBLE)


def test_infinite_double_is_rejected():
    """A float64 model accepts 1e39, but neither NaN nor infinity."""
    assert as_window([*FLAT[:-1], 1e39], DOUBLE)[2, 1] == 1e39
    with pytest.raises(InvalidFeaturesError, match=r"float64 holds up to 1\.8e\+308"):
        as_window([*FLAT[:-1], float("inf")], DOUBLE)


def test_missing_values():
    """NaN reaches a model that declares missing values; infinity and 1e39 in float32 do not."""
    of = metadata(dataset_info={"missing_values": True})
    assert np.isnan(as_window([float("nan"), *FLAT[1:]], of)[0, 0])
    for value in (float("inf"), 1e39):
        with pytest.raises(InvalidFeaturesError, match="not finite"):
            as_window([float("nan"), *FLAT[2:], value], of)
