"""A bar log in memory: every query reads the rows as they were known."""

import asyncio

import numpy as np

from features import KnownBars, Timeframe
from features.pushes import SeriesSummary
from serve_app.bars.changes import Change, RecentChanges
from serve_app.bars.queries import BarPage, History, SeriesStatus

HOURLY = Timeframe.parse("1h")


class FakeBarLog:
    """Stores rows by symbol, and publishes commits as the real log does."""

    def __init__(self):
        self.rows = {}
        self.recent = RecentChanges()
        self.queries = 0

    def push(self, symbol, bars, known_at_ms, *, is_published=True):
        """Store bars that became known at a time."""
        rows = KnownBars(bars.time, bars.values, np.full(len(bars), known_at_ms, np.int64))
        held = self.rows.get(symbol, KnownBars.empty())
        self.rows[symbol] = KnownBars.concat([held, rows]).sorted()
        if is_published:
            self.recent.add([Change(symbol, "1h", rows, KnownBars.empty())])

    async def changes_since(self, cursor, wait_s):
        return await self.recent.since(cursor, min(wait_s, 0.2))

    async def symbols(self):
        return [
            SeriesStatus(
                SeriesSummary(symbol, "1h", int(rows.time[0]), int(rows.time[-1]), len(rows), 0, 0),
                0,
            )
            for symbol, rows in self.rows.items()
        ]

    async def query(self, query):
        self.queries += 1
        await asyncio.sleep(0)
        rows = self.rows[query.symbol]
        rows = rows.take((rows.known_at <= query.known_at_ms) & (rows.time <= query.last_ms))
        rows = rows.take(np.append(np.diff(rows.time) > 0, True) if len(rows) else slice(0))
        bars = rows.take(slice(-query.limit, None))
        return BarPage(query.symbol, HOURLY, bars, [], None, KnownBars.empty())

    async def history(self, query):
        self.queries += 1
        await asyncio.sleep(0)
        rows = self.rows[query.symbol]
        rows = rows.take(rows.known_at <= query.known_at_ms)
        times = np.unique(rows.time)
        inside = times[(times >= query.first_ms) & (times <= query.last_ms)]
        following = int(inside[query.bars]) if len(inside) > query.bars else None
        inside = inside[: query.bars]
        if not len(inside):
            return History(KnownBars.empty(), None)
        first = max(0, int(np.searchsorted(times, inside[0])) - query.before)
        wanted = (rows.time >= times[first]) & (rows.time <= inside[-1])
        return History(rows.take(wanted), following)
