"""What was known when: the windows and the outcomes of a series with revisions and late bars. Pure.

A prediction at a bar is made when that bar becomes known, with the numbers that are known then. A
row of a dataset is therefore computed from bars as known at that time, not from those of today: a
model would otherwise be trained on revisions that no prediction had. The outcome is likewise
evaluated when the bar at the horizon becomes known.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from features.bars import Bars, Floats, Ints, Mask
from features.labels import LabelRule, market_classes, market_return
from features.revisions import Series


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The outcomes of the predictions at all bars of a series."""

    returns: Floats
    """The market's return over the horizon; NaN without an outcome."""
    labels: NDArray[np.int8]
    """The correct direction."""
    horizon: Ints
    """The position of the bar at the horizon; the last bar without an outcome."""
    known_at: Ints
    """When that bar became known."""
    is_known: Mask
    """Whether there is an outcome."""


def outcomes(series: Series, rule: LabelRule) -> Outcomes:
    """Return the outcome of the prediction at each bar.

    There is none if a bar up to the horizon is not known, or became known only after later ones had
    taken its place: a server would have counted those.
    """
    bars, steps = np.arange(len(series)), rule.horizon_bars
    known_at, horizon = series.known_at, np.minimum(bars + steps, len(series) - 1)
    is_known = bars + steps < len(series)
    at = known_at.copy()
    if is_known.any():
        at[is_known] = sliding_window_view(known_at, steps + 1).max(axis=1)
        # The earliest time at which a bar beyond the horizon became known.
        beyond = np.append(np.minimum.accumulate(known_at[::-1])[::-1], np.iinfo(np.int64).max)
        is_known[is_known] = ~(
            (beyond[horizon[is_known] + 1] < at[is_known]) & (known_at[is_known] < at[is_known])
        )
    close = series.rows.close
    returns = market_return(close[series.rows_at(bars, at)], close[series.rows_at(horizon, at)])
    is_known &= np.isfinite(returns)
    returns[~is_known] = np.nan
    return Outcomes(returns, market_classes(returns, rule.dead_band), horizon, at, is_known)


def complete_windows(series: Series, depth: int) -> Mask:
    """Return whether all bars of the window at each bar were known when that bar became known.

    Args:
        series: the series.
        depth: the number of bars on which a window depends.
    """
    is_complete = np.zeros(len(series), np.bool_)
    if len(series) >= depth:
        known_at = series.known_at
        latest = sliding_window_view(known_at, depth).max(axis=1)
        is_complete[depth - 1 :] = latest == known_at[depth - 1 :]
    return is_complete


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Consecutive bars whose windows consist of the same numbers, without a revision in between."""

    start: int
    """The position of the first bar with a window."""
    stop: int
    """The position after the last bar with a window."""
    bars: Bars
    """The bars as known then: `depth - 1` before the first one, and all up to the last one."""


def segments(series: Series, is_complete: Mask, depth: int) -> Iterator[Segment]:
    """Yield the bars with complete windows in runs that one computation covers.

    A revision of a bar that was in earlier windows ends the run: the windows after it contain the
    new number, and those before it do not.

    Args:
        series: the series.
        is_complete: which bars have a complete window; see `complete_windows`.
        depth: the number of bars on which a window depends.
    """
    begins = is_complete & ~np.append(False, is_complete[:-1])
    begins[_first_with(series, depth)] = True
    starts = np.flatnonzero(begins & is_complete)
    stops = np.flatnonzero(is_complete & ~np.append(is_complete[1:], False)) + 1
    known_at = series.known_at
    for position, start in enumerate(starts.tolist()):
        stop = int(stops[np.searchsorted(stops, start, side="right")])
        if position + 1 < len(starts):
            stop = min(stop, int(starts[position + 1]))
        before = series.rows_at(np.arange(start - depth + 1, start), int(known_at[start]))
        rows = series.rows.take(np.concatenate([before, series.first[start:stop]]))
        yield Segment(start, stop, Bars(rows.time, rows.values))


def _first_with(series: Series, depth: int) -> Ints:
    """Return the first bar whose window contains each revision, if there is one."""
    known_at, found = series.known_at, []
    for bar, revised_at in zip(*(values.tolist() for values in series.revisions), strict=True):
        later = known_at[bar + 1 : bar + depth] >= revised_at
        if later.any():
            found.append(bar + 1 + int(later.argmax()))
    return np.array(found, np.int64)
