"""A report lists a bounded number of rejected bars, and counts all."""

from dataclasses import replace

import numpy as np

from features.bar_log.streams import InvalidRows
from features.bars import KnownBars, Rejections, Symbol
from features.pushes import Appended, Push
from features.timeframes import Timeframe
from serve_app.bars.pushes import MAX_LISTED, newest_of, report_of


def appended(*codes):
    nothing = KnownBars.empty()
    return Appended(1, 2, 3, Rejections.of(np.array(codes, np.uint8)), nothing, nothing)


def test_pushes():
    """Bars of several pushes have the position of their push."""
    report = report_of([appended(0, 3), appended(5)], [None, None])
    assert (report.accepted, report.duplicates, report.revised) == (2, 4, 6)
    assert [(bar.push, bar.index) for bar in report.rejected] == [(0, 1), (1, 0)]


def test_rows():
    """Bars of a stream have the positions of their rows, in order."""
    rows = [np.array([5, 7]), np.array([1])]
    invalid = [InvalidRows(np.array([0, 6]), "no symbol")]
    report = report_of([appended(3, 3), appended(3)], rows, invalid)
    assert [bar.index for bar in report.rejected] == [0, 1, 5, 6, 7]
    assert report.rejected_total == 5


def test_limit():
    """A flood of rejected bars is counted, not listed."""
    report = report_of([appended(*[3] * (MAX_LISTED + 5))], [None])
    assert (len(report.rejected), report.rejected_total) == (MAX_LISTED, MAX_LISTED + 5)


def test_newest():
    """The newest bar that a push has stored, whatever else was rejected."""
    times = np.array([3_600_000, 7_200_000])
    stored = KnownBars(times, np.ones((5, 2)), times)
    pushes = [Push(Symbol(symbol), Timeframe.parse("1h"), stored) for symbol in ("A", "B")]
    results = [replace(appended(3), stored=stored), appended(3)]
    assert newest_of(pushes, results) == [("A", "1h", 7_200_000)]
