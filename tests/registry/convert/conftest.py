"""Rows on a coarse grid, as prices have, so that values meet the thresholds of trees."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def rows():
    values = np.random.default_rng(0).standard_normal((300, 6))
    return np.round(values, 1).astype(np.float32)


@pytest.fixture(scope="session")
def classes(rows):
    """Return 0, 1 or 2, depending on the first and the last value of a row."""
    return (rows[:, 0] > 0.3).astype(int) + (rows[:, -1] > 0.2)
