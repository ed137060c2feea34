"""Which bars a window lacks, according to the calendar of its market. Pure."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from features.bars import Ints, find_gaps
from features.calendars import MarketCalendar
from features.timeframes import Timeframe

_MOST_LISTED = 10_000
"""The number of missing bars after which the search for further ones ends."""


@dataclass(frozen=True, slots=True, eq=False)
class MissingBars:
    """The bars that a window lacks."""

    needed: int
    """The number of bars on which the window depends."""
    held: int
    """The number of the newest bars that are known, up to that."""
    missing: Ints
    """The openings of the missing ones between or before them, ascending; if there are more than
    10,000, only the last ones."""


def find_missing(
    time: Ints, needed: int, timeframe: Timeframe, calendar: MarketCalendar
) -> MissingBars | None:
    """Return the bars that a window lacks; None if it is complete.

    Args:
        time: the openings of the known bars up to the window's last one, ascending; at least one.
        needed: the number of bars on which the window depends.
        timeframe: their timeframe.
        calendar: the market's.
    """
    time = time[-needed:]
    absent = needed - len(time)
    step_ms = timeframe.length_ms
    if not absent and time[-1] - time[0] == (needed - 1) * step_ms:
        return None
    missing: list[Ints] = []
    listed = 0
    for gap in reversed(find_gaps(time, timeframe)):
        first_ms = max(gap.first_ms, gap.last_ms - _MOST_LISTED * step_ms)
        missing.insert(0, _required(calendar, timeframe, first_ms, gap.last_ms))
        listed += len(missing[0])
        if listed > _MOST_LISTED:
            break
    if absent > listed:
        # A market is open for at least a fifth of the time, in periods of several weeks.
        first_ms = int(time[0]) - 5 * absent * step_ms - 30 * 86_400_000
        before = _required(calendar, timeframe, first_ms, int(time[0]) - step_ms)
        missing.insert(0, before[listed - absent :])
    found = np.concatenate(missing)
    return MissingBars(needed, len(time), found) if len(found) else None


@lru_cache(maxsize=256)
def _required(calendar: MarketCalendar, timeframe: Timeframe, first_ms: int, last_ms: int) -> Ints:
    """Return the bars that a market has; the symbols of a market have the same gaps."""
    return calendar.required(timeframe, first_ms, last_ms)
