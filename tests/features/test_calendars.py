"""Market calendars."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.eurusd.data import load_bars
from features import Timeframe
from features.bars import find_gaps
from features.calendars import CALENDARS, MarketCalendar, Markets
from features.errors import InvalidCalendarError
from features.times import iso, parse_time

ALWAYS, FX = CALENDARS["always"], CALENDARS["fx"]
NEW_YORK = MarketCalendar.of(
    "America/New_York", "09:30", "16:00", ("Mon", "Tue", "Wed", "Thu", "Fri"), ("2026-11-26",)
)
HOURLY, DAILY = Timeframe.parse("1h"), Timeframe.parse("1d")
HOUR_MS = 3_600_000
YEAR_1900_MS = -2_208_988_800_000


def required(calendar, timeframe, first, last):
    times = calendar.required(Timeframe.parse(timeframe), parse_time(first), parse_time(last))
    return [iso(time) for time in times.tolist()]


def test_currencies():
    """The hours that the real bars of a year lack are those that the market does not have."""
    time = load_bars().time
    for gap in find_gaps(time, HOURLY):
        assert not len(FX.required(HOURLY, gap.first_ms, gap.last_ms))
    expected = FX.required(HOURLY, int(time[0]), int(time[-1]))
    assert np.isin(expected, time).all()
    # On Christmas and on New Year's Day some hours have bars, though the calendar requires none.
    assert len(time) - len(expected) < 60


def test_weekend():
    """The currency market closes and opens at 17:00 in New York, in winter and in summer."""
    assert required(FX, "1h", "2026-01-09T21:00Z", "2026-01-11T22:00Z") == [
        "2026-01-09T21:00:00Z",
        "2026-01-11T22:00:00Z",
    ]
    assert required(FX, "1h", "2026-07-10T20:00Z", "2026-07-12T21:00Z") == [
        "2026-07-10T20:00:00Z",
        "2026-07-12T21:00:00Z",
    ]


def test_days():
    """A day with a few hours of the next session, such as a Sunday, needs no bar; a Friday does."""
    days = required(FX, "1d", "2026-07-09T00:00Z", "2026-07-14T00:00Z")
    assert [day[8:10] for day in days] == ["09", "10", "13", "14"]


def test_exchange():
    """An exchange has bars of its session, and none on the dates that are declared as closed."""
    times = required(NEW_YORK, "1h", "2026-11-25T00:00Z", "2026-11-27T23:00Z")
    assert [time[8:13] for time in times] == [
        *(f"25T{hour}" for hour in range(14, 21)),
        *(f"27T{hour}" for hour in range(14, 21)),
    ]
    assert len(required(NEW_YORK, "1d", "2026-11-23T00:00Z", "2026-11-29T00:00Z")) == 4


@given(
    st.sampled_from(["1m", "15m", "4h", "1d", "1w"]),
    st.integers(-3 * 10**12, 10**12),
    st.integers(0, 100),
)
def test_always(name, first_ms, bars):
    """A market without a close has every bar since 1900."""
    timeframe = Timeframe.parse(name)
    last_ms = first_ms + bars * timeframe.length_ms
    times = ALWAYS.required(timeframe, first_ms, last_ms)
    start = timeframe.floor(first_ms + timeframe.length_ms - 1)
    grid = range(start, last_ms + 1, timeframe.length_ms)
    assert times.tolist() == [
        time for time in grid if time > YEAR_1900_MS - timeframe.length_ms / 2
    ]


@given(st.integers(0, 2 * 10**12), st.integers(1, 10**9), st.integers(0, 10**9))
def test_after_open(since_ms, open_ms, more_ms):
    """Open time passes only while the market is open, and adds up."""
    assert ALWAYS.after_open(since_ms, open_ms) == since_ms + open_ms
    middle = FX.after_open(since_ms, open_ms)
    assert middle >= since_ms + open_ms
    assert (
        FX.after_open(middle, more_ms) == FX.after_open(since_ms, open_ms + more_ms) or not more_ms
    )


def test_after_weekend():
    """The last bar of a week ends at the close; the next one is due an hour after the opening."""
    friday = parse_time("2026-01-09T22:00Z")
    assert iso(FX.after_open(friday, HOUR_MS)) == "2026-01-11T23:00:00Z"
    assert iso(FX.after_open(friday - HOUR_MS, 3 * HOUR_MS // 2)) == "2026-01-11T22:30:00Z"


def test_contiguous():
    """The sessions of a market without a close follow each other through changes of the clock."""
    days = ALWAYS.required(DAILY, parse_time("2026-03-01T00:00Z"), parse_time("2026-04-10T00:00Z"))
    assert {right - left for left, right in pairwise(days.tolist())} == {24 * HOUR_MS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zone": "Mars/Olympus"}, "IANA time zone as zone"),
        ({"zone": "../etc"}, "IANA time zone as zone"),
        ({"opens": "25:00"}, "a time such as 17:00 as opens"),
        ({"closes": "noon"}, "a time such as 17:00 as closes"),
        ({"weekdays": ("Mo",)}, "some of Mon, .*received 'Mo'"),
        ({"weekdays": ()}, "received 'none'"),
        ({"closed": ("25.12.",)}, "dates such as"),
    ],
)
def test_invalid(change, message):
    """A calendar that has no meaning is rejected with the field."""
    valid = {"zone": "UTC", "opens": "09:00", "closes": "17:00"}
    with pytest.raises(InvalidCalendarError, match=message):
        MarketCalendar.of(**{**valid, **change})


def test_markets():
    """The first pattern that matches a symbol decides its calendar."""
    markets = Markets((("EURUSD", FX), ("*.N", NEW_YORK), ("*", ALWAYS)))
    assert markets.calendar("EURUSD") is FX
    assert markets.calendar("IBM.N") is NEW_YORK
    assert markets.calendar("eurusd") is ALWAYS
    assert Markets().calendar("BTC/USDT") is ALWAYS
