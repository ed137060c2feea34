import numpy as np
import pytest

from features.errors import UnknownTimeframeError
from features.timeframes import NAMES, Timeframe
from features.times import parse_time


@pytest.mark.parametrize(
    ("name", "minutes"),
    [("1m", 1), ("15m", 15), ("1h", 60), ("4h", 240), ("1d", 1440), ("1w", 10080)],
)
def test_parse(name, minutes):
    """A name gives the length of its bars."""
    timeframe = Timeframe.parse(name)
    assert (str(timeframe), timeframe.length_ms) == (name, minutes * 60_000)


def test_lengths():
    """Each length has one name, in ascending order."""
    lengths = [Timeframe.parse(name).length_ms for name in NAMES]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize(
    "name", ["", "60m", "7m", "5h", "1M", "1 m", "m", "-1m", "2w", "1m\n", "\u0661m"]
)
def test_unknown(name):
    """Another name is rejected, and the error lists the known ones."""
    with pytest.raises(UnknownTimeframeError, match="use one of 1m, 2m"):
        Timeframe.parse(name)


@pytest.mark.parametrize(
    ("name", "on_grid", "off_grid"),
    [
        ("15m", "2026-01-05T09:45:00Z", "2026-01-05T09:40:00Z"),
        ("4h", "2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z"),
        ("1d", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00+01:00"),
        ("1w", "2026-01-05T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("1d", "1969-12-31T00:00:00Z", "1969-12-31T00:00:00.001Z"),
    ],
)
def test_grid(name, on_grid, off_grid):
    """Bars open on a grid from midnight, weeks on Monday, also before 1970."""
    times = np.array([parse_time(on_grid), parse_time(off_grid)])
    assert Timeframe.parse(name).is_on_grid(times).tolist() == [True, False]


def test_floor():
    """A time lies in the bar that opened last, and its end is the opening of the next."""
    week = Timeframe.parse("1w")
    monday = parse_time("2026-01-05T00:00:00Z")
    assert week.floor(monday) == week.floor(week.end(monday) - 1) == monday
    assert week.floor(week.end(monday)) == parse_time("2026-01-12T00:00:00Z")
