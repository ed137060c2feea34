import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.bar_log.manifest import PartEntry
from features.bar_log.merging import cut_slices, find_overlapping

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), max_size=8)


def entry(first, last):
    return PartEntry(f"{first}-{last}", 1, first, last, 0, 0, 1)


@settings(deadline=None)
@given(SPANS, st.integers(1, 3))
def test_find_overlapping(spans, limit):
    """A group is found if more than the limit share a time, and overlaps no part outside it."""
    parts = sorted((entry(start, start + length) for start, length in spans), key=lambda p: p[2:4])
    shared = [sum(p.first_time <= time <= p.last_time for p in parts) for time in range(30)]
    found = find_overlapping(parts, limit)
    assert bool(found) == (max(shared) > limit)
    for part in found:
        for other in parts:
            overlaps = part.first_time <= other.last_time and other.first_time <= part.last_time
            assert not overlaps or other in found


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 4), st.integers(0, 9))
def test_cut_slices(starts, per_slice, more):
    """Slices cover all times from the first to the last once, in ascending order."""
    last = max(starts) + more
    slices = list(cut_slices(np.array(starts), per_slice, last))
    covered = [time for first, until in slices for time in range(first, until + 1)]
    assert covered == list(range(min(starts), last + 1))
    assert all(
        sum(first <= s <= until for s in set(starts)) <= per_slice for first, until in slices
    )
