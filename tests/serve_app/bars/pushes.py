"""Pushes for the tests of the service."""

import numpy as np

from features.bars import Bars, Symbol
from features.pushes import Push
from features.timeframes import Timeframe

MINUTELY = Timeframe.parse("1m")
MINUTE_MS = 60_000


def push(*minutes, symbol="X", price=1.0):
    """Return bars that open at some minutes, with one price."""
    time = np.array(minutes) * MINUTE_MS
    return Push(Symbol(symbol), MINUTELY, Bars.of(time, np.full((5, len(time)), price)))
