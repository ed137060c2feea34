"""The bars that a window lacks."""

import numpy as np

from features import Timeframe
from features.calendars import CALENDARS
from features.live import find_missing
from features.times import parse_time

ALWAYS, FX = CALENDARS["always"], CALENDARS["fx"]
HOURLY, MINUTELY = Timeframe.parse("1h"), Timeframe.parse("1m")
FRIDAY = parse_time("2026-01-09T12:00Z")
HOUR_MS = HOURLY.length_ms


def hours(*numbers):
    return FRIDAY + HOUR_MS * np.array(numbers, np.int64)


def test_complete():
    """Consecutive bars are complete, and more bars do not matter."""
    assert find_missing(hours(0, 1, 2), 3, HOURLY, ALWAYS) is None
    assert find_missing(hours(-9, 0, 1, 2), 3, HOURLY, ALWAYS) is None


def test_gap():
    """A bar between two others is listed."""
    missing = find_missing(hours(0, 2, 3), 3, HOURLY, ALWAYS)
    assert (missing.needed, missing.held, missing.missing.tolist()) == (3, 3, hours(1).tolist())


def test_weekend():
    """Hours in which the market is closed are not missing, the first hour after them is."""
    assert find_missing(hours(8, 9, 58), 3, HOURLY, FX) is None
    assert find_missing(hours(8, 9, 59), 3, HOURLY, FX).missing.tolist() == hours(58).tolist()
    assert len(find_missing(hours(8, 9, 58), 3, HOURLY, ALWAYS).missing) == 48


def test_too_few():
    """Bars before the first one are listed until there are enough, those in gaps first."""
    missing = find_missing(hours(58, 59, 61), 6, HOURLY, FX)
    assert (missing.needed, missing.held) == (6, 3)
    assert missing.missing.tolist() == hours(8, 9, 60).tolist()


def test_long_gap():
    """A gap of decades is reported without listing all of its minutes."""
    minutes = np.array([0, FRIDAY], np.int64)
    missing = find_missing(minutes, 2, MINUTELY, ALWAYS).missing
    assert 10_000 <= len(missing) <= 10_001
    assert missing[-1] == FRIDAY - 60_000
