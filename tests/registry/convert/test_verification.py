"""Rows of other values of a price grid, on which a rounding to float32 is evaluated."""

import numpy as np

from registry.convert.verification import rows_on_grid


def test_values_stay_on_the_grid():
    """Every row has other prices in the same steps, also beside the thresholds."""
    prices = np.array([[4000.01, 0.5], [4000.25, -0.125], [3999.5, 2.0]])
    rows = rows_on_grid(prices, [(0, 4000.1234), (1, 0.3)])
    np.testing.assert_array_equal(rows[:, 0], np.round(rows[:, 0], 2))
    assert {4000.11, 4000.12, 4000.13} <= set(rows[:, 0].tolist())
    assert set(rows[:, 1].tolist()) <= set(prices[:, 1].tolist())


def test_only_values_that_float32_rounds_have_a_grid():
    """There are no rows if float32 keeps the values, or if they are on no decimal grid."""
    continuous = np.random.default_rng(0).standard_normal((20, 1))
    for values in (np.array([[0.5], [7.25]]), np.array([[np.nan], [1.0]]), continuous):
        assert rows_on_grid(values, [(0, 0.3)]).shape == (0, 1)
