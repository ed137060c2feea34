"""Queries of the bar log, as known at any time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from sqlalchemy import Connection

from features.bar_log import manifest, opening, recent
from features.bar_log.database import open_database
from features.bar_log.manifest import PartEntry, Series
from features.bar_log.parts import HISTORY, PartReader
from features.bar_log.visibility import merge, near, visible
from features.bars import EARLIEST_MS, LATEST_MS, Ints, KnownBars
from features.errors import DamagedBarLogError, UnknownSeriesError
from features.pushes import SeriesSummary
from features.timeframes import Timeframe
from storage.database import Database

Result = TypeVar("Result")

SCAN_BARS = 65_536
"""How many bars `scan` reads at once."""
ATTEMPTS = 3


class BarReader:
    """Reads a bar log; any number of processes may do so while one writes.

    Every query evaluates one snapshot. A row is visible at `known_at_ms` if it was known by then;
    of a bar's visible rows the latest one wins.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._database = database
        self.parts = PartReader(folder / HISTORY)
        """The parts of the history, of any snapshot."""

    @classmethod
    def open(cls, folder: Path, url: str | None = None) -> Self:
        """Return a reader of an existing log, which another process may write.

        Args:
            folder: the folder of the log.
            url: of its database, by default the SQLite file in the folder.

        Raises:
            ForeignBarLogError: the folder and the database are not those of one log.
            BarLogError: the database cannot be used.
        """
        url = opening.existing_url(folder, url)
        database = open_database(url, prepare=lambda opened: opening.check(opened, folder))
        return cls(folder, database)

    def window(
        self,
        symbol: str,
        timeframe: Timeframe,
        bars: int,
        until_ms: int = LATEST_MS,
        known_at_ms: int = LATEST_MS,
    ) -> KnownBars:
        """Return the last bars up to a time, fewer if the log has fewer.

        Args:
            symbol: the symbol.
            timeframe: the timeframe.
            bars: the number of bars.
            until_ms: the opening of the last bar, or any time before the next one opens.
            known_at_ms: the time of the view.

        Raises:
            UnknownSeriesError: the log has no bar of the symbol and timeframe.
        """
        return self._with_series(
            symbol,
            timeframe,
            lambda connection, series: self._select(
                connection, series, EARLIEST_MS, until_ms, known_at_ms, bars, True
            ),
        )

    def range(
        self,
        symbol: str,
        timeframe: Timeframe,
        first_ms: int = EARLIEST_MS,
        last_ms: int = LATEST_MS,
        known_at_ms: int = LATEST_MS,
        *,
        limit: int,
    ) -> KnownBars:
        """Return the first bars between two times, inclusive, by time.

        Raises:
            UnknownSeriesError: the log has no bar of the symbol and timeframe.
        """
        return self._with_series(
            symbol,
            timeframe,
            lambda connection, series: self._select(
                connection, series, first_ms, last_ms, known_at_ms, limit, False
            ),
        )

    def scan(
        self,
        symbol: str,
        timeframe: Timeframe,
        first_ms: int = EARLIEST_MS,
        last_ms: int = LATEST_MS,
        known_at_ms: int = LATEST_MS,
    ) -> Iterator[KnownBars]:
        """Yield all bars between two times in bounded memory, by time.

        Each block is a query of its own. A view of the past is the same in all of them.
        """
        while True:
            block = self.range(symbol, timeframe, first_ms, last_ms, known_at_ms, limit=SCAN_BARS)
            if not len(block):
                return
            yield block
            first_ms = int(block.time[-1]) + 1

    def rows(self, symbol: str, timeframe: Timeframe, first_ms: int, last_ms: int) -> KnownBars:
        """Return every row of the bars between two times, inclusive, by time and known_at.

        Raises:
            UnknownSeriesError: the log has no bar of the symbol and timeframe.
        """
        return self._with_series(
            symbol,
            timeframe,
            lambda connection, series: self._rows(connection, series, first_ms, last_ms),
        )

    def provisional(self, symbol: str, timeframe: Timeframe) -> KnownBars:
        """Return the latest bar that is not final, if it is later than all final ones.

        Raises:
            UnknownSeriesError: the log has no bar of the symbol and timeframe.
        """
        return self._with_series(
            symbol,
            timeframe,
            lambda connection, series: recent.select_provisional(connection, series.series_id),
        )

    def series(self) -> list[SeriesSummary]:
        """Return what the log has, by symbol and timeframe."""
        with self._database.snapshot() as connection:
            return [manifest.summary_of(series) for series in manifest.select_series(connection)]

    def verify(self) -> list[str]:
        """Read all parts completely and return the problems, of which there should be none."""
        with self._database.snapshot() as connection:
            parts = manifest.select_all_parts(connection)
        problems = []
        for part in parts:
            try:
                rows = self.parts.part(part.file).verify()
            except DamagedBarLogError as error:
                problems.append(str(error))
                continue
            later = np.diff(rows.time), np.diff(rows.known_at)
            is_sorted = (later[0] > 0) | (later[0] == 0) & (later[1] > 0)
            if PartEntry.of(part.file, part.series_id, rows) != part or not is_sorted.all():
                problems.append(f"{part.file}: expected the rows of the manifest, received others")
        return problems

    def latest_rows(
        self, connection: Connection, series: Series, times: Ints, step_ms: int
    ) -> KnownBars:
        """Return the latest row of each of some bars and of their neighbours, by time.

        Args:
            connection: a transaction.
            series: the series.
            times: the bars, in ascending order.
            step_ms: the distance of neighbours.
        """
        first_ms = max(int(times[0]) - step_ms, series.retained_from)
        bounds = first_ms, int(times[-1]) + step_ms
        recent_rows = recent.select_latest(connection, series.series_id, *bounds)
        found = [near(recent_rows, times, step_ms)]
        for part in manifest.select_parts(connection, series.series_id, *bounds, LATEST_MS):
            rows = self.parts.rows_near(part.file, times, step_ms)
            found.append(rows.take(rows.time >= first_ms))
        found = [rows for rows in found if len(rows)]
        return visible(KnownBars.concat(found).sorted()) if found else KnownBars.empty()

    def all_times(self, connection: Connection, series: Series) -> Ints:
        """Return the times of all bars since the start of the retention, ascending."""
        bounds = series.retained_from, LATEST_MS
        found = [recent.select_rows(connection, series.series_id, *bounds).time]
        for part in manifest.select_parts(connection, series.series_id, *bounds, LATEST_MS):
            found.append(self.parts.part(part.file).times())
        times = np.unique(np.concatenate(found))
        return times[times >= series.retained_from]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _with_series(
        self,
        symbol: str,
        timeframe: Timeframe,
        query: Callable[[Connection, Series], KnownBars],
    ) -> KnownBars:
        for attempt in range(ATTEMPTS):
            try:
                with self._database.snapshot() as connection:
                    series = manifest.find_series(connection, symbol, timeframe.name)
                    if series is None:
                        raise self._unknown(connection, symbol, timeframe)
                    return query(connection, series)
            except DamagedBarLogError:
                # The writer deletes a part once it is in no snapshot that begins now.
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _unknown(
        self, connection: Connection, symbol: str, timeframe: Timeframe
    ) -> UnknownSeriesError:
        known = [f"{s.symbol} {s.timeframe}" for s in manifest.select_series(connection)]
        return UnknownSeriesError(symbol, timeframe.name, known)

    def _select(
        self,
        connection: Connection,
        series: Series,
        first_ms: int,
        last_ms: int,
        known_at_ms: int,
        limit: int,
        newest: bool,
    ) -> KnownBars:
        """Return the newest or oldest bars, from the recent rows and the parts.

        Each source contributes one bar more than the limit: if one of the bars that are returned
        lacked a row of a part, that part would have contributed `limit` bars beyond it.
        """
        first_ms = max(first_ms, series.retained_from)
        if limit < 1 or first_ms > last_ms:
            return KnownBars.empty()
        parts = list(
            manifest.select_parts(
                connection, series.series_id, first_ms, last_ms, known_at_ms, newest
            )
        )
        # The source at the edge comes first: it may leave little to read in the other one.
        is_in_parts = len(parts) > 0 and (
            parts[0].last_time >= last_ms if newest else parts[0].first_time <= first_ms
        )
        view = known_at_ms, limit + 1, newest
        found = KnownBars.empty()
        if not is_in_parts:
            found = recent.select_visible(connection, series.series_id, first_ms, last_ms, *view)
        for part in parts:
            first_ms, last_ms = _narrow(found, first_ms, last_ms, limit, newest)
            if part.last_time < first_ms or part.first_time > last_ms:
                break
            read = self.parts.visible(part.file, first_ms, last_ms, *view)
            found = merge([found, read], limit + 1, newest)
        if is_in_parts:
            first_ms, last_ms = _narrow(found, first_ms, last_ms, limit, newest)
            read = recent.select_visible(connection, series.series_id, first_ms, last_ms, *view)
            found = merge([found, read], limit + 1, newest)
        return merge([found], limit, newest)

    def _rows(
        self, connection: Connection, series: Series, first_ms: int, last_ms: int
    ) -> KnownBars:
        first_ms = max(first_ms, series.retained_from)
        found = [recent.select_rows(connection, series.series_id, first_ms, last_ms)]
        parts = manifest.select_parts(connection, series.series_id, first_ms, last_ms, LATEST_MS)
        found += [self.parts.rows_between(part.file, first_ms, last_ms) for part in parts]
        return KnownBars.concat(found).sorted()


def _narrow(
    found: KnownBars, first_ms: int, last_ms: int, limit: int, newest: bool
) -> tuple[int, int]:
    """Return the times between which further rows may change the first `limit` bars found."""
    if len(found) <= limit:
        return first_ms, last_ms
    return (int(found.time[0]), last_ms) if newest else (first_ms, int(found.time[-1]))
