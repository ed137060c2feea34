"""Quantiles of latencies from a small histogram that merges exactly.

Bins grow geometrically, so that the relative error of a quantile is at most RELATIVE_ERROR for any
number of values and merges (DDSketch: Masson, Rim and Lee, VLDB 2019, arXiv 1908.10693). It is
implemented here because the reference library does not serialise to JSON.
"""

import math
from collections.abc import Mapping

RELATIVE_ERROR = 0.01
SMALLEST_MS = 1e-3
"""Latencies below one microsecond count as one microsecond."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)

Bins = dict[int, int]
"""Count by bin; bin i holds (SMALLEST_MS * gamma^(i-1), SMALLEST_MS * gamma^i]."""


def bin_of(value_ms: float) -> int:
    """Return the index of the bin that holds a latency."""
    return max(0, math.ceil(math.log(max(value_ms, SMALLEST_MS) / SMALLEST_MS) / _LOG_GAMMA))


def quantile_ms(bins: Mapping[int, int], q: float) -> float | None:
    """Return the q-quantile of the latencies in ms, or None if there are none.

    It is the value of rank ceil(q n) (the inverse of the empirical distribution), within
    RELATIVE_ERROR.
    """
    total = sum(bins.values())
    rank = max(1, math.ceil(q * total))
    passed = 0
    for index, count in sorted(bins.items()):
        passed += count
        if passed >= rank:
            return SMALLEST_MS * 2 * _GAMMA**index / (_GAMMA + 1)
    return None


def upper_end_ms(index: int) -> float:
    """Return the upper bound of a bin, in ms."""
    return SMALLEST_MS * _GAMMA**index
