"""Which row of a bar was known when, and which windows share their numbers."""

import numpy as np
import pytest

from features import KnownBars
from features.datasets.point_in_time import complete_windows, segments
from features.revisions import Series


def series(*rows):
    """Return a series of rows (time, known_at), whose prices are their positions."""
    values = np.tile(np.arange(len(rows), dtype=np.float64), (5, 1))
    time, known_at = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Series.of(KnownBars(time, values, known_at))


REVISED = series((1, 2), (2, 3), (2, 7), (2, 8), (3, 4), (4, 5), (5, 6), (6, 9), (7, 10))
"""The bar 2 is revised at 7 and 8, before the bar 6 is known."""


@pytest.mark.parametrize(
    ("bar", "known_at", "row"), [(0, 2, 0), (1, 3, 1), (1, 6, 1), (1, 7, 2), (1, 99, 3), (2, 9, 4)]
)
def test_row(bar, known_at, row):
    """Of the rows of a bar that are known at a time, the latest one wins."""
    assert REVISED.rows_at(np.array([bar]), known_at).tolist() == [row]


def test_many_revisions():
    """A flood of revisions of one bar is searched quickly."""
    flooded = series((1, 2), *((2, 3 + step) for step in range(100_000)), (3, 200_000))
    views = np.array([2, 40_000, 200_000])
    assert flooded.rows_at(np.arange(3), views).tolist() == [0, 39_998, 100_001]
    assert flooded.rows_at(np.array([1]), 50).tolist() == [48]


def runs(of, depth):
    """Return the first bar, the stop and the prices of each segment."""
    return [
        (segment.start, segment.stop, segment.bars.close.tolist())
        for segment in segments(of, complete_windows(of, depth), depth)
    ]


def test_revision():
    """A revision begins a new run at the first window that contains it."""
    assert runs(REVISED, 5) == [(4, 5, [0, 1, 4, 5, 6]), (5, 7, [3, 4, 5, 6, 7, 8])]


def test_old_revision():
    """A revision of a bar that is in no further window changes nothing."""
    assert runs(REVISED, 4) == [(3, 7, [0, 1, 4, 5, 6, 7, 8])]


def test_late_bar():
    """A window without a bar that was not known then is in no run."""
    late = series((1, 2), (2, 3), (3, 6), (4, 5), (5, 7), (6, 8))
    assert complete_windows(late, 2).tolist() == [False, True, True, False, True, True]
    assert runs(late, 2) == [(1, 3, [0, 1, 2]), (4, 6, [3, 4, 5])]


def test_few_bars():
    """Fewer bars than a window needs give no run."""
    assert runs(series((1, 2), (2, 3)), 3) == []
