"""Queries of bars and their results: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from features.bars import LATEST_MS, Gap, KnownBars, find_gaps
from features.pushes import SeriesSummary
from features.timeframes import Timeframe
from features.times import iso
from serve_app.errors import InvalidRequestError, UnknownSymbolError

if TYPE_CHECKING:
    from features.bar_log import BarReader  # routers read no log, and need neither SQL nor Arrow

MAX_BARS = 100_000
"""The most bars that a query returns."""

DEFAULT_BARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BarQuery:
    """The bars that a caller requests."""

    symbol: str
    timeframe: Timeframe | None = None
    """None if the symbol has only one."""
    first_ms: int | None = None
    """The first bar; None for the newest bars up to `last_ms`."""
    last_ms: int = LATEST_MS
    known_at_ms: int = LATEST_MS
    limit: int = DEFAULT_BARS


@dataclass(frozen=True, slots=True, eq=False)
class BarPage:
    """Bars of one symbol and timeframe, by time."""

    symbol: str
    timeframe: Timeframe
    bars: KnownBars
    gaps: Sequence[Gap]
    """The gaps between the bars; closed markets are gaps as well."""
    following_ms: int | None
    """The first bar of the next page, if the query has a first bar and there are more."""
    provisional: KnownBars
    """The latest bar if it is not final; only in a view of the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Consecutive bars with everything that was ever known of them."""

    symbol: str
    timeframe: Timeframe
    first_ms: int
    last_ms: int
    known_at_ms: int = LATEST_MS
    """What became known later is left out."""
    before: int
    """The number of bars before the first one that are returned as well."""
    bars: int
    """The most bars of the range that are returned at once."""
    limit: int
    """The most bars that the range may have."""


class History(NamedTuple):
    """Every row of consecutive bars."""

    rows: KnownBars
    """By time and, for one time, by known_at."""
    following_ms: int | None
    """The first bar of the range that is not included, if there is one."""


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """What the log has of one symbol and timeframe."""

    summary: SeriesSummary
    age_ms: int
    """How long ago the last bar ended."""


def read_page(reader: "BarReader", query: BarQuery) -> BarPage:
    """Return the bars of a query.

    Raises:
        UnknownSeriesError: the log has no bars of the symbol and timeframe.
        UnknownSymbolError: the query has no timeframe, and the log no bars of the symbol.
        InvalidRequestError: the query has no timeframe, and the log bars of several ones.
    """
    timeframe = query.timeframe or _only_timeframe(reader, query.symbol)
    view = query.last_ms, query.known_at_ms
    following_ms = None
    if query.first_ms is None:
        bars = reader.window(query.symbol, timeframe, query.limit, *view)
    else:
        bounds = query.first_ms, *view
        bars = reader.range(query.symbol, timeframe, *bounds, limit=query.limit + 1)
        if len(bars) > query.limit:
            following_ms = int(bars.time[-1])
            bars = bars.take(slice(query.limit))
    provisional = KnownBars.empty()
    if query.known_at_ms == LATEST_MS:
        provisional = reader.provisional(query.symbol, timeframe)
    gaps = find_gaps(bars.time, timeframe)
    return BarPage(query.symbol, timeframe, bars, gaps, following_ms, provisional)


def read_history(reader: "BarReader", query: HistoryQuery) -> History:
    """Return the rows of consecutive bars.

    Raises:
        UnknownSeriesError: the log has no bars of the symbol and timeframe.
        InvalidRequestError: the range has more bars than the limit.
    """
    of = query.symbol, query.timeframe
    known_at_ms = query.known_at_ms
    found = reader.range(
        *of, query.first_ms, query.last_ms, known_at_ms, limit=query.limit + 1
    ).time
    if len(found) > query.limit:
        further = iso(int(found[-1]))
        received = f"more; end before {further}, and request the rest from there"
        raise InvalidRequestError("to", f"a range of at most {query.limit} bars", received)
    following_ms = int(found[query.bars]) if len(found) > query.bars else None
    found = found[: query.bars]
    if not len(found):
        return History(KnownBars.empty(), None)
    first_ms, last_ms = int(found[0]), int(found[-1])
    earlier = reader.window(*of, query.before, first_ms - 1, known_at_ms)
    rows = reader.rows(*of, int(earlier.time[0]) if len(earlier) else first_ms, last_ms)
    return History(rows.take(rows.known_at <= known_at_ms), following_ms)


def _only_timeframe(reader: "BarReader", symbol: str) -> Timeframe:
    summaries = reader.series()
    names = [summary.timeframe for summary in summaries if summary.symbol == symbol]
    if not names:
        known = sorted({summary.symbol for summary in summaries})
        raise UnknownSymbolError(symbol, None, known)
    if len(names) > 1:
        raise InvalidRequestError("timeframe", f"one of {', '.join(names)}", "nothing")
    return Timeframe.parse(names[0])
