"""Which row of a bar was known when."""

import numpy as np

from features.bars import KnownBars
from features.revisions import Series


def test_rows():
    """Of the rows of a bar, the latest one that was known by a time is found."""
    time, known_at = np.array([1, 2, 2, 2, 3]), np.array([5, 6, 8, 9, 7])
    series = Series.of(KnownBars(time, np.ones((5, 5)), known_at))
    assert (series.time.tolist(), series.known_at.tolist()) == ([1, 2, 3], [5, 6, 7])
    bars, revised_at = series.revisions
    assert (bars.tolist(), revised_at.tolist()) == ([1, 1], [8, 9])
    every = np.arange(3)
    for known_by, rows in ((7, [0, 1, 4]), (8, [0, 2, 4]), (100, [0, 3, 4])):
        assert series.rows_at(every, known_by).tolist() == rows
    assert len(Series.of(KnownBars.empty())) == 0
