"""Quantiles of latencies from a small histogram that merges exactly.

Bins grow geometrically, so that a quantile is off by at most RELATIVE_ERROR of its value, however
many values or merges there were (DDSketch: Masson, Rim and Lee, VLDB 2019, arXiv 1908.10693).
Written here because the reference library knows no JSON and merges one bin at a time in Python.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

RELATIVE_ERROR = 0.01
SMALLEST_MS = 1e-3
"""Latencies below a microsecond count as one."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)

Bins = dict[int, int]
"""Count by bin; bin i holds (SMALLEST_MS * gamma^(i-1), SMALLEST_MS * gamma^i]."""


def bin_of(value_ms: float) -> int:
    """Return the bin of a latency."""
    return max(0, math.ceil(math.log(max(value_ms, SMALLEST_MS) / SMALLEST_MS) / _LOG_GAMMA))


def add(bins: Bins, other: Mapping[int, int]) -> None:
    """Add the counts of `other` to `bins`."""
    for index, count in other.items():
        bins[index] = bins.get(index, 0) + count


def quantile_ms(histograms: Iterable[Mapping[int, int]], q: float) -> float | None:
    """Return the q-quantile of everything in the histograms, in ms; None when they are empty.

    It is the value of rank ceil(q n) (the inverse of the empirical distribution), within
    RELATIVE_ERROR.
    """
    parts = [histogram for histogram in histograms if histogram]
    if not parts:
        return None
    indices = np.concatenate([np.fromiter(part.keys(), np.int64, len(part)) for part in parts])
    counts = np.concatenate([np.fromiter(part.values(), np.int64, len(part)) for part in parts])
    totals = np.zeros(int(indices.max()) + 1, np.int64)
    np.add.at(totals, indices, counts)
    cumulated = np.cumsum(totals)
    rank = max(1, math.ceil(q * int(cumulated[-1])))
    index = int(np.searchsorted(cumulated, rank))
    return float(SMALLEST_MS * 2 * _GAMMA**index / (_GAMMA + 1))
