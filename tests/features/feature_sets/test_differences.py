"""Comparison of rows."""

import numpy as np

from features.feature_sets.differences import Difference, find_difference

ROWS = np.array([[1, 2], [3, 0]], np.float32)
TIME = np.array([0, 3_600_000])


def test_equal():
    """Equal rows have no difference."""
    assert find_difference(ROWS, ROWS.copy(), TIME, ("a", "b")) is None


def test_first():
    """The first value that differs is reported, by row and then by feature."""
    other = np.array([[1, np.nextafter(np.float32(2), np.float32(3))], [4, 0]], np.float32)
    found = find_difference(ROWS, other, TIME, ("a", "b"))
    assert found == Difference(0, "b", 2.0, 2.000000238418579)
    assert str(found) == "b of the bar 1970-01-01T00:00:00Z is 2.000000238418579 instead of 2.0"


def test_bits():
    """A zero with another sign differs."""
    negative = np.array([[1, 2], [3, -0.0]], np.float32)
    assert find_difference(ROWS, negative, TIME, ("a", "b")).feature == "b"
