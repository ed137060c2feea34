"""Which bars were known when the window of a bar became complete."""

from typing import NamedTuple, Protocol

import numpy as np

from features.bars import LATEST_MS, KnownBars
from features.timeframes import Timeframe
from serve_app.bars.queries import BarPage, BarQuery, History, HistoryQuery


class BarQueries(Protocol):
    """Reads bars as they were known at a time."""

    async def query(self, query: BarQuery) -> BarPage:
        """Return bars."""

    async def history(self, query: HistoryQuery) -> History:
        """Return every row of consecutive bars."""


class View(NamedTuple):
    """The bars of a window."""

    bars: KnownBars
    """As they were known when the last of them arrived."""
    as_of_ms: int
    """That time."""
    latest: KnownBars
    """The same bars with the revisions since then."""


async def first_view(
    source: BarQueries, symbol: str, timeframe: Timeframe, bars: int, last_ms: int
) -> View:
    """Return the last bars up to one, as known when the last of them had arrived.

    A prediction that was made then and one that is made later use the same bars.

    Raises:
        ServingError: the log has no bars of the symbol and timeframe, or is unavailable.
    """

    async def as_known(known_at_ms: int) -> KnownBars:
        page = await source.query(
            BarQuery(
                symbol=symbol,
                timeframe=timeframe,
                last_ms=last_ms,
                known_at_ms=known_at_ms,
                limit=bars,
            )
        )
        return page.bars

    latest = await as_known(LATEST_MS)
    if not len(latest):
        return View(latest, 0, latest)
    view, earliest_ms = latest, int(latest.time[-1])
    while True:
        complete_ms = int(view.known_at.max())
        # Usually the last bar arrived at that time, and no bar was revised.
        earlier = await as_known(complete_ms - 1)
        if not np.array_equal(earlier.time, latest.time):
            return View(view, complete_ms, latest)
        view = earlier
        # Many revisions are skipped by bisection; no bar is known before it opens.
        middle_ms = (earliest_ms + int(view.known_at.max())) // 2
        if earliest_ms < middle_ms < int(view.known_at.max()):
            earlier = await as_known(middle_ms)
            if np.array_equal(earlier.time, latest.time):
                view = earlier
            else:
                earliest_ms = middle_ms
