"""Which rows of the log are visible at a time: pure functions of columns.

A row is visible at T if its known_at is not after T; of a bar's visible rows the one with the
greatest known_at wins.
"""

from collections.abc import Sequence

import numpy as np

from features.bars import Ints, KnownBars, Mask


def visible(rows: KnownBars, known_at_ms: int | None = None) -> KnownBars:
    """Return one row per bar, by time.

    Args:
        rows: by time and, for one time, by known_at.
        known_at_ms: the time of the view; None for the latest rows.
    """
    if known_at_ms is not None:
        is_known = rows.known_at <= known_at_ms
        if not is_known.all():
            rows = rows.take(is_known)
    is_winner = np.ones(len(rows), np.bool_)
    np.not_equal(rows.time[1:], rows.time[:-1], out=is_winner[:-1])
    return rows if is_winner.all() else rows.take(is_winner)


def merge(found: Sequence[KnownBars], limit: int, newest: bool) -> KnownBars:
    """Return the visible bars of several sources, by time: the newest ones or the oldest ones."""
    found = [rows for rows in found if len(rows)]
    if not found:
        return KnownBars.empty()
    merged = found[0] if len(found) == 1 else visible(KnownBars.concat(found).sorted())
    if len(merged) <= limit:
        return merged
    return merged.take(slice(len(merged) - limit, None) if newest else slice(limit))


def is_in(times: Ints, known: Ints) -> Mask:
    """Return whether each time is among ascending ones."""
    if not len(known):
        return np.zeros(len(times), np.bool_)
    places = np.searchsorted(known, times)
    places[places == len(known)] = 0
    return np.asarray(known[places] == times)


def near(rows: KnownBars, times: Ints, step_ms: int) -> KnownBars:
    """Return the rows of some bars and of their neighbours; the times must ascend."""
    is_near = is_in(rows.time, times)
    is_near |= is_in(rows.time - step_ms, times)
    is_near |= is_in(rows.time + step_ms, times)
    return rows.take(is_near)
