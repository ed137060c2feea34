"""Estimates over blocks are unknown if there is too little data."""

import numpy as np

from serve_app.experiments.statistics.estimates import VariantBlocks, between_blocks


def test_single_block_has_no_error():
    """The only block of a variant gives no standard error."""
    only, many = (
        VariantBlocks(np.array(n), np.array(n) / 49, np.array(n) / 49)
        for n in ([49.0, 0.0, 0.0], [0.0, 49.0, 30.0])
    )
    estimate = between_blocks(only, many, neighbours=False)
    assert np.isfinite(estimate.standard_error)
    assert estimate.degrees_of_freedom == 0
