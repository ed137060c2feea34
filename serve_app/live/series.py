"""The windows at many bars, each as it was when it became complete. Pure but for its pauses."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from features.bars import Bars, Ints, KnownBars, Mask
from features.calendars import MarketCalendar
from features.errors import InvalidRowsError
from features.feature_sets import FeatureSet, Rows, compute_rows
from features.live import find_missing
from features.revisions import Series
from features.timeframes import Timeframe
from serve_app.bars.queries import History, HistoryQuery
from serve_app.data_plane.series_windows import SeriesPart, SeriesRange, WindowRun
from serve_app.errors import IncompleteWindowError, PredictionFailedError
from serve_app.live.windows import WindowRules

PART_BARS = 1024
"""The most bars of a part."""

STRETCH_BARS = 256
"""The most bars whose windows are computed at once: live predictions wait for this computation."""


class Stretch(NamedTuple):
    """Consecutive bars whose windows consist of the same numbers."""

    start: int
    """The position of the first of them."""
    stop: int
    """The position after the last one."""
    bars: Bars
    """As known then: `depth - 1` before the first one, and all up to the last one."""


def complete_at(series: Series, depth: int) -> Ints:
    """Return when the window at each bar was complete; 0 for the first bars, which have none."""
    complete = np.zeros(len(series), np.int64)
    if len(series) >= depth:
        complete[depth - 1 :] = sliding_window_view(series.known_at, depth).max(axis=1)
    return complete


def is_gapless(time: Ints, depth: int, timeframe: Timeframe, calendar: MarketCalendar) -> Mask:
    """Return whether the window at each bar has every bar that its market has."""
    after_gap = np.flatnonzero(np.diff(time) > timeframe.length_ms) + 1
    is_broken = np.zeros(len(time), np.bool_)
    for at in after_gap.tolist():
        is_broken[at] = find_missing(time[at - 1 : at + 1], 2, timeframe, calendar) is not None
    # A window of `depth` bars has `depth - 1` steps from one bar to the next.
    broken = np.append(0, np.cumsum(is_broken))
    gapless = np.zeros(len(time), np.bool_)
    if len(time) >= depth:
        gapless[depth - 1 :] = broken[depth:] == broken[1 : len(time) - depth + 2]
    return gapless


def stretches(series: Series, complete: Ints, is_wanted: Mask, depth: int) -> Iterator[Stretch]:
    """Yield the wanted bars in stretches that one computation covers.

    A stretch ends where a bar that two successive windows share has another number in the second
    one, because of a revision in between. It has at most STRETCH_BARS bars.

    Args:
        series: the series.
        complete: when the window at each bar was complete.
        is_wanted: of which bars the windows are wanted; those must be complete.
        depth: the number of bars on which a window depends.
    """
    begins = is_wanted & ~np.append(False, is_wanted[:-1])
    for bar, revised_at in zip(*(part.tolist() for part in series.revisions), strict=True):
        is_visible = complete[bar : bar + depth] >= revised_at
        begins[np.flatnonzero(is_visible[1:] != is_visible[:-1]) + bar + 1] = True
    begins[::STRETCH_BARS] = True
    starts = np.flatnonzero(begins & is_wanted)
    stops = np.flatnonzero(is_wanted & ~np.append(is_wanted[1:], False)) + 1
    for position, start in enumerate(starts.tolist()):
        stop = int(stops[np.searchsorted(stops, start, side="right")])
        if position + 1 < len(starts):
            stop = min(stop, int(starts[position + 1]))
        before = series.rows_at(np.arange(start - depth + 1, start), int(complete[start]))
        at = np.arange(start, stop)
        rows = series.rows.take(np.concatenate([before, series.rows_at(at, complete[at])]))
        yield Stretch(start, stop, Bars(rows.time, rows.values))


def history_query(wanted: SeriesRange, rules: WindowRules) -> HistoryQuery:
    """Return the query for the bars of the first part of a range."""
    return HistoryQuery(
        symbol=wanted.symbol,
        timeframe=rules.feature_set.timeframe,
        first_ms=wanted.first_ms,
        last_ms=wanted.last_ms,
        known_at_ms=wanted.known_at_ms,
        before=rules.bars - 1,
        bars=PART_BARS,
        limit=wanted.limit,
    )


async def windows_of(history: History, first_ms: int, rules: WindowRules) -> SeriesPart:
    """Return the windows at the bars of a range.

    Args:
        history: the rows of the bars, and of those before the first one.
        first_ms: the range begins here.
        rules: those of the version.
    """
    rows: KnownBars = history.rows
    series, timeframe, depth = Series.of(rows), rules.feature_set.timeframe, rules.bars
    time = series.time
    complete = complete_at(series, depth)
    is_wanted = is_gapless(time, depth, timeframe, rules.calendar) & (time >= first_ms)
    offset = int(np.searchsorted(time, first_ms))
    runs: list[WindowRun] = []
    incomplete = np.flatnonzero(~is_wanted[offset:]).tolist()
    problems = dict.fromkeys(incomplete, IncompleteWindowError.code)
    for stretch in stretches(series, complete, is_wanted, depth):
        computed = await _compute(rules.feature_set, stretch, depth)
        for start, values in computed:
            place = start - offset
            if isinstance(values, InvalidRowsError):
                problems[place] = PredictionFailedError.code
            else:
                runs.append(WindowRun(place, values))
        await asyncio.sleep(0)  # live predictions proceed in between
    as_of_ms = np.where(is_wanted, complete, 0)[offset:]
    return SeriesPart(
        timeframe.name, time[offset:], as_of_ms, tuple(runs), problems, history.following_ms
    )


async def _compute(
    feature_set: FeatureSet, stretch: Stretch, depth: int
) -> list[tuple[int, Rows | InvalidRowsError]]:
    """Return the rows of a stretch from its first bar; in parts around windows without rows."""
    try:
        return [(stretch.start, compute_rows(feature_set, stretch.bars))]
    except InvalidRowsError as error:
        if stretch.stop - stretch.start == 1:
            return [(stretch.start, error)]
    await asyncio.sleep(0)
    middle = (stretch.start + stretch.stop) // 2
    split = middle - stretch.start
    first = Stretch(stretch.start, middle, stretch.bars.take(slice(0, split + depth - 1)))
    second = Stretch(middle, stretch.stop, stretch.bars.take(slice(split, None)))
    return [
        *await _compute(feature_set, first, depth),
        *await _compute(feature_set, second, depth),
    ]
