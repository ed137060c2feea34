"""Bars for the tests of the log."""

import numpy as np

from features import Bars, Timeframe

MINUTE_MS = 60_000
MINUTELY = Timeframe.parse("1m")
NOW_MS = 1_000_000 * MINUTE_MS
"""A time after all bars of the tests."""


def flat_bars(minutes, prices):
    """Return bars that open at some minutes, each with one price."""
    prices = np.asarray(prices, float)
    volume = np.full(len(prices), 7.0)
    return Bars.of(np.asarray(minutes, int) * MINUTE_MS, [prices] * 4 + [volume])


def walk(count, first_minute=0, seed=0):
    """Return consecutive bars of a random walk."""
    random = np.random.default_rng(seed)
    close = 100 + np.cumsum(random.normal(0, 0.01, count))
    open_ = close + random.normal(0, 0.01, count)
    high = np.maximum(open_, close) + 0.01
    low = np.minimum(open_, close) - 0.01
    time = (first_minute + np.arange(count)) * MINUTE_MS
    return Bars.of(time, [open_, high, low, close, random.integers(0, 1000, count)])


def rows_of(bars):
    """Return (minute, close) of bars."""
    return list(zip((bars.time // MINUTE_MS).tolist(), bars.close.tolist(), strict=True))
