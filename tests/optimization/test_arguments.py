"""Checks of arguments."""

import numpy as np

from optimization.arguments import check_windows


def test_check_windows():
    """Valid windows are returned."""
    windows = np.zeros((2, 12, 6), dtype=np.float32)
    assert check_windows("windows", windows) is windows
