"""Classifies the bars of a push as new, duplicate or revision: a pure function of columns."""

from dataclasses import dataclass

import numpy as np

from features.bar_log.visibility import is_in
from features.bars import Bars, Ints, KnownBars, Mask


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """The rows of a push that the log stores, and what the others were."""

    rows: KnownBars
    """The new bars and the revisions, by time and known_at."""
    is_new: Mask
    """Whether each of the rows is the first one of its bar."""
    duplicates: int
    """The number of bars that the log had already."""

    @property
    def new_times(self) -> Ints:
        """The times of the new bars, ascending."""
        return self.rows.time[self.is_new]

    @property
    def revised(self) -> int:
        """The number of revisions."""
        return len(self.rows) - int(self.is_new.sum())


def classify(bars: Bars, known_at: Ints, stored: KnownBars) -> Classified:
    """Classify valid bars.

    A bar equal to the latest one of its time is a duplicate; with other numbers it is a revision.
    This includes bars of the same push, in their order. The known_at of a bar's rows ascends
    strictly: a row that would not be later than the one before becomes 1 ms later.

    Args:
        bars: the bars, in the order in which they were sent.
        known_at: when each of them became known.
        stored: the latest row of each of their times that the log has, by time.
    """
    pushed = KnownBars(bars.time, bars.values, known_at)
    if not (np.diff(bars.time) > 0).all():
        pushed = pushed.take(np.argsort(bars.time, kind="stable"))
    is_first = np.ones(len(pushed), np.bool_)
    np.not_equal(pushed.time[1:], pushed.time[:-1], out=is_first[1:])
    is_stored = is_in(pushed.time, stored.time)
    is_new = is_first & ~is_stored
    if is_new.all():
        return Classified(pushed, is_new, 0)
    before = pushed.values[:, np.maximum(np.arange(len(pushed)) - 1, 0)]
    known_before = np.full(len(pushed), np.iinfo(np.int64).min)
    follows_stored = is_first & is_stored
    places = np.searchsorted(stored.time, pushed.time[follows_stored])
    before[:, follows_stored] = stored.values[:, places]
    known_before[follows_stored] = stored.known_at[places]
    is_kept = is_new | (pushed.values != before).any(axis=0)
    # The lower limit passes from a duplicate that is dropped to the rows of its bar that follow.
    group = np.cumsum(is_first) - 1
    floor = known_before[np.flatnonzero(is_first)][group]
    rows = pushed.take(is_kept)
    later = np.maximum(rows.known_at, floor[is_kept] + 1)
    for index in (np.flatnonzero(rows.time[1:] == rows.time[:-1]) + 1).tolist():
        later[index] = max(later[index], later[index - 1] + 1)
    kept = KnownBars(rows.time, rows.values, later)
    return Classified(kept, is_new[is_kept], len(pushed) - len(rows))


def count_adjacent(new: Ints, stored: Ints, step_ms: int) -> int:
    """Return how many pairs of consecutive bars the new times add.

    Args:
        new: the new times, ascending.
        stored: the times that the log has, ascending; at least those one step from a new one.
        step_ms: the distance of consecutive bars.
    """
    beside_new = int((np.diff(new) == step_ms).sum())
    before_stored = int(is_in(new + step_ms, stored).sum())
    after_stored = int(is_in(new - step_ms, stored).sum())
    return beside_new + before_stored + after_stored
