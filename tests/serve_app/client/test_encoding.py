"""Encoding of features."""

import numpy as np

from serve_app.client.encoding import as_float32


def test_no_copy():
    """A contiguous float32 array is returned as it is, not copied."""
    window = np.zeros((60, 110), np.float32)
    assert as_float32(window) is window
