import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import Bars, KnownBars, Rejection, Rejections, Symbol, Timeframe
from features.bars import COLUMNS, find_gaps, find_problems
from features.errors import InvalidColumnsError, InvalidSymbolError

HOUR_MS = 3_600_000
HOURLY = Timeframe.parse("1h")
NOW_MS = 10 * HOUR_MS


@pytest.mark.parametrize("text", ["EURUSD", "BTC/USDT", "^GSPC", "BRK.B", "ES=F", "a", "A" * 64])
def test_symbol(text):
    """The usual names of instruments are symbols."""
    assert Symbol(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "A" * 65, "../x", "a/../b", "/a", "a/", "a//b", "a b", "a\n", "a\x00", "é", "%2e", "-a"],
)
def test_hostile_symbol(text):
    """Paths, control characters, blanks and other scripts are rejected."""
    with pytest.raises(InvalidSymbolError, match="1 to 64 characters"):
        Symbol(text)


def bar(**changes):
    row = {"time": 0, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 10.0} | changes
    return Bars.of([row["time"]], [[row[name]] for name in COLUMNS])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"time": 9 * HOUR_MS}, None),
        ({"time": -HOUR_MS, "open": -0.0, "low": -1.0, "volume": -0.0}, None),
        ({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 0.0}, None),
        ({"open": 1e308, "high": 1e308, "low": 0, "close": 1e308, "volume": 1e308}, None),
        ({"time": -(2**63)}, Rejection.NOT_A_TIME),
        ({"time": 2**63 - 1}, Rejection.NOT_A_TIME),
        ({"open": math.nan}, Rejection.NOT_FINITE),
        ({"high": math.inf}, Rejection.NOT_FINITE),
        ({"high": math.inf, "low": -math.inf}, Rejection.NOT_FINITE),
        ({"volume": math.inf}, Rejection.NOT_FINITE),
        ({"high": 0.4}, Rejection.HIGH_BELOW_LOW),
        ({"open": 2.1}, Rejection.OUTSIDE_RANGE),
        ({"close": 0.4}, Rejection.OUTSIDE_RANGE),
        ({"volume": -1e-9}, Rejection.NEGATIVE_VOLUME),
        ({"time": 1}, Rejection.OFF_GRID),
        ({"time": 11 * HOUR_MS}, Rejection.IN_FUTURE),
        ({"time": 10 * HOUR_MS}, Rejection.NOT_ENDED),
        ({"time": 11 * HOUR_MS + 1, "volume": -1.0}, Rejection.NEGATIVE_VOLUME),
    ],
)
def test_problems(changes, reason):
    """A valid bar has no problem, and an invalid one the first reason that applies."""
    (code,) = find_problems(bar(**changes), HOURLY, NOW_MS)
    assert code == (0 if reason is None else reason.code)


def test_not_final():
    """A bar that is not final may end later, but not open later."""
    bars = Bars.of([10 * HOUR_MS, 11 * HOUR_MS], np.ones((5, 2)))
    problems = find_problems(bars, HOURLY, NOW_MS, np.array([False, False]))
    assert list(Rejections.of(problems)) == [(1, Rejection.IN_FUTURE)]


FIELD = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, math.nan, math.inf])


@settings(deadline=None)
@given(st.lists(st.tuples(*[FIELD] * 5), max_size=8))
def test_problems_of_many(rows):
    """Bars that are checked together receive the reasons that they receive one by one."""
    values = np.array(rows).reshape(-1, 5).T
    alone = [
        find_problems(Bars.of([0], values[:, [i]]), HOURLY, NOW_MS)[0] for i in range(len(rows))
    ]
    together = find_problems(Bars.of(np.zeros(len(rows), int), values), HOURLY, NOW_MS)
    assert together.tolist() == alone


@pytest.mark.parametrize(
    ("time", "values"),
    [
        ([0], np.ones((4, 1))),
        ([0], np.ones((5, 2))),
        ([0.5], np.ones((5, 1))),
        ([[0]], np.ones((5, 1))),
        (["a"], np.ones((5, 1))),
        ([0], [["a"]] * 5),
        ([0], [[1.0], [1.0], [1.0], [1.0], [1.0, 2.0]]),
        (np.array([2**63], np.uint64), np.ones((5, 1))),
    ],
)
def test_columns(time, values):
    """Columns that are no bars are rejected."""
    with pytest.raises(InvalidColumnsError, match="the columns are not bars"):
        Bars.of(time, values)


def test_named_columns():
    """The rows of `values` are the columns by name; a negative zero is a zero."""
    bars = Bars.of([0], [[1.0], [2.0], [-0.0], [1.5], [7.0]])
    assert [getattr(bars, name)[0] for name in COLUMNS] == [1.0, 2.0, 0.0, 1.5, 7.0]
    assert math.copysign(1, bars.low[0]) == 1


def test_sorted():
    """Known bars sort by time and then by known_at."""
    parts = [
        KnownBars(np.array([2, 1]), np.arange(10.0).reshape(5, 2), np.array([5, 6])),
        KnownBars(np.array([1]), np.full((5, 1), 9.0), np.array([4])),
    ]
    bars = KnownBars.concat(parts).sorted()
    assert bars.time.tolist() == [1, 1, 2]
    assert bars.known_at.tolist() == [4, 6, 5]
    assert bars.open.tolist() == [9.0, 1.0, 0.0]
    assert len(KnownBars.concat([])) == 0


def test_gaps():
    """Each run of missing bars is one gap."""
    hours = np.array([0, 1, 4, 5, 7]) * HOUR_MS
    gaps = [
        (gap.first_ms // HOUR_MS, gap.last_ms // HOUR_MS, gap.bars)
        for gap in find_gaps(hours, HOURLY)
    ]
    assert gaps == [(2, 3, 2), (6, 6, 1)]
