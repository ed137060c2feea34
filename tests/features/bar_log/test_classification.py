import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features import KnownBars
from features.bar_log.classification import classify, count_adjacent
from features.bar_log.visibility import visible
from tests.features.bar_log.bars import MINUTE_MS, flat_bars
from tests.features.bar_log.reference_log import ReferenceLog

BARS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1.0, 2.0])), max_size=10)
PUSH = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1.0, 2.0]), st.integers(0, 5)))


def as_bars(rows):
    bars = flat_bars([row.minute for row in rows], [row.price for row in rows])
    return KnownBars(bars.time, bars.values, np.array([row.known_at for row in rows], int))


@settings(deadline=None)
@given(BARS, st.integers(0, 5), PUSH)
def test_classify(before, known_before, push):
    """The rows are those of a loop over the bars, each with a known_at of its own."""
    model = ReferenceLog()
    model.append(before, known_before)
    stored = visible(as_bars(model.all_rows()))
    earlier = len(model.rows)
    counts = np.zeros(4, int)
    for minute, price, known_at in push:
        counts += model.append([(minute, price)], known_at)
    bars = flat_bars([row[0] for row in push], [row[1] for row in push])
    found = classify(bars, np.array([row[2] for row in push], int), stored)
    assert [len(found.new_times), found.duplicates, found.revised] == counts[:3].tolist()
    expected = as_bars(sorted(model.rows[earlier:], key=lambda row: (row.minute, row.known_at)))
    assert found.rows.time.tolist() == expected.time.tolist()
    assert found.rows.known_at.tolist() == expected.known_at.tolist()
    assert found.rows.close.tolist() == expected.close.tolist()


@settings(deadline=None)
@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_count_adjacent(new, stored):
    """The pairs that the new times add are those of all times without those of the stored ones."""
    new = new - stored

    def pairs(minutes):
        return sum(minute + 1 in minutes for minute in minutes)

    times = [np.array(sorted(minutes), int) * MINUTE_MS for minutes in (new, stored)]
    added = pairs(new | stored) - pairs(stored)
    assert count_adjacent(times[0], times[1], MINUTE_MS) == added
