"""The bar log: the only writer of bars, revisions and parts of the history."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from filelock import FileLock, Timeout
from sqlalchemy import Connection, update

from features.bar_log import manifest, opening, recent
from features.bar_log.classification import Classified, classify, count_adjacent
from features.bar_log.database import open_database
from features.bar_log.files import make_folder
from features.bar_log.maintenance import Dropped, Limits, Maintenance
from features.bar_log.manifest import Series
from features.bar_log.reader import BarReader
from features.bar_log.schema import LOG
from features.bars import (
    EARLIEST_MS,
    LATEST_MS,
    Bars,
    KnownBars,
    Rejection,
    Rejections,
    Symbol,
    find_problems,
)
from features.errors import InvalidTimeError, LockedBarLogError, UnavailableBarLogError
from features.pushes import Appended, Push
from features.timeframes import Timeframe
from storage.database import Database
from storage.disk_space import shortage_of


class BarLog:
    """An append-only log of bars; one process may have it open at a time.

    A new bar is a row. The same bar with other numbers is a revision: another row with a later
    known_at. Rows are in the database first, and later in parts of the history; a transaction of
    the database decides which, so that each row exists once whenever the process is killed.

    Args:
        folder: the folder of the log; it is created, but not those above it.
        url: of a PostgreSQL or SQLite database, by default a SQLite file in the folder.
        limits: when rows move to the history.

    Raises:
        LockedBarLogError: another process has the log open.
        BarLogError: the database cannot be used.
    """

    def __init__(self, folder: Path, url: str | None = None, limits: Limits | None = None) -> None:
        self._folder = folder
        self._limits = limits or Limits()
        self._is_open = False
        try:
            make_folder(folder)
        except OSError as error:
            raise UnavailableBarLogError(str(folder), str(error)) from error
        self._lock = FileLock(folder / "lock", thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LockedBarLogError(str(folder)) from None
        try:
            url = url or opening.default_url(folder)
            self._database = open_database(url, prepare=self._prepare)
        except BaseException:
            self._lock.release()
            raise
        self._is_open = True
        self.reader = BarReader(folder, self._database)
        """The queries; other threads may use it while this object writes."""
        self._maintenance = Maintenance(folder, self._database, self.reader, self._limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log and let another process open it."""
        self.reader.close()
        self._lock.release()

    def shortage(self) -> str | None:
        """Return that a disk is nearly full, before a push fails; None while none is."""
        return self._database.shortage() or shortage_of(self._folder)

    def write_canary(self) -> None:
        """Commit a change without effect, which fails if pushes cannot be stored.

        Raises:
            BarLogError: the database cannot be written.
        """
        with self._database.writing() as connection:
            connection.execute(update(LOG).values(revision=LOG.c.revision))

    def append(self, symbol: str, timeframe: Timeframe, bars: Bars, known_at_ms: int) -> Appended:
        """Append final bars of one symbol; return once they are committed.

        Args:
            symbol: the symbol.
            timeframe: the timeframe.
            bars: the bars, in any order.
            known_at_ms: the time now.

        Raises:
            InvalidSymbolError: the text cannot name a symbol.
            InvalidTimeError: `known_at_ms` is outside the years 1 to 9999.
            UnavailableBarLogError: nothing was acknowledged; a retry is safe.
        """
        (result,) = self.append_all([Push(Symbol(symbol), timeframe, bars)], known_at_ms)
        return result

    def append_all(self, pushes: Sequence[Push], known_at_ms: int) -> list[Appended]:
        """Append several pushes in one transaction; return once they are committed.

        Args:
            pushes: the bars by symbol; a symbol may occur several times.
            known_at_ms: the time now.

        Raises:
            InvalidTimeError: `known_at_ms` is outside the years 1 to 9999.
            UnavailableBarLogError: nothing was acknowledged; a retry is safe.
        """
        if not EARLIEST_MS <= known_at_ms <= LATEST_MS:
            raise InvalidTimeError(str(known_at_ms), "which is outside the years 1 to 9999")
        with self._database.writing() as connection:
            return [self._append(connection, push, known_at_ms) for push in pushes]

    def compact(self) -> int:
        """Move rows to the history where the database has many; return how many were moved.

        Parts are merged where too many have bars of one time. The owner calls this method from time
        to time, for instance after pushes, from any thread; it costs two queries per series if
        there is nothing to do. Only the last steps delay pushes.
        """
        return self._maintenance.compact()

    def drop_before(self, before_ms: int) -> Dropped:
        """Drop the parts of the history whose bars are all before a time.

        Bars that are not later than those of a dropped part are no longer returned, and are
        rejected if they are sent again.
        """
        return self._maintenance.drop_before(before_ms)

    def _prepare(self, database: Database) -> None:
        if self._is_open:
            # A file that replaced the open one may be an older copy: the history stays as it is.
            opening.check(database, self._folder)
        else:
            opening.prepare(database, self._folder)

    def _append(self, connection: Connection, push: Push, now_ms: int) -> Appended:
        bars, timeframe = push.bars, push.timeframe
        series = manifest.find_series(connection, push.symbol, timeframe.name)
        problems = find_problems(bars, timeframe, now_ms, push.is_final)
        if push.problems is not None:
            problems = np.where(push.problems, push.problems, problems)
        known_at = np.full(len(bars), now_ms) if push.known_at is None else push.known_at
        problems[(problems == 0) & (known_at > now_ms)] = Rejection.KNOWN_IN_FUTURE.code
        if push.known_at is not None:
            is_early = (problems == 0) & (known_at - timeframe.length_ms < bars.time)
            problems[is_early] = Rejection.KNOWN_TOO_EARLY.code
        if series is not None:
            is_expired = (problems == 0) & (bars.time < series.retained_from)
            problems[is_expired] = Rejection.EXPIRED.code
        is_valid = problems == 0
        is_stored = is_valid if push.is_final is None else is_valid & push.is_final
        if is_stored.all():
            finals = KnownBars(bars.time, bars.values, known_at)
        else:
            finals = KnownBars(bars.time, bars.values, known_at).take(is_stored)
        accepted = duplicates = revised = 0
        stored = provisional = KnownBars.empty()
        if len(finals):
            series = series or manifest.create_series(connection, push.symbol, timeframe.name)
            classified, series = self._store(connection, series, timeframe, finals)
            accepted, revised = len(classified.new_times), classified.revised
            duplicates, stored = classified.duplicates, classified.rows
        is_provisional = is_valid & ~is_stored
        if is_provisional.any():
            series = series or manifest.create_series(connection, push.symbol, timeframe.name)
            latest = recent.select_provisional(connection, series.series_id).time
            known_ms = max(series.last_time, int(latest.max(initial=EARLIEST_MS)) - 1)
            is_late = is_provisional & (bars.time <= known_ms)
            problems[is_late] = Rejection.SUPERSEDED.code
            accepted += int((is_provisional & ~is_late).sum())
            rows = KnownBars(bars.time, bars.values, known_at).take(is_provisional & ~is_late)
            if len(rows):
                last = np.flatnonzero(rows.time == rows.time.max())[-1:]
                provisional = rows.take(last)
                recent.replace_provisional(connection, series.series_id, provisional)
        rejected = Rejections.of(problems)
        return Appended(accepted, duplicates, revised, rejected, stored, provisional)

    def _store(
        self, connection: Connection, series: Series, timeframe: Timeframe, finals: KnownBars
    ) -> tuple[Classified, Series]:
        step_ms = timeframe.length_ms
        stored = KnownBars.empty()
        if series.bars and finals.time.min() > series.last_time:
            # The usual push: only whether the last bar precedes the new ones matters, not its row.
            last = np.array([series.last_time])
            stored = KnownBars(last, np.zeros((len(finals.values), 1)), last)
        elif series.bars:
            if not (np.diff(finals.time) >= 0).all():
                finals = finals.take(np.argsort(finals.time, kind="stable"))
            # The neighbours tell which gaps the new bars close.
            stored = self.reader.latest_rows(connection, series, finals.time, step_ms)
        classified = classify(finals, finals.known_at, stored)
        rows, new = classified.rows, classified.new_times
        if len(rows) >= self._limits.direct_rows:
            manifest.add_part(connection, self._maintenance.write_part(series, rows))
        else:
            recent.insert_rows(connection, series.series_id, rows)
        if len(new):
            first = min(series.first_time, int(new[0])) if series.bars else int(new[0])
            series = series._replace(
                first_time=first,
                last_time=max(series.last_time, int(new[-1])),
                bars=series.bars + len(new),
                adjacent=series.adjacent + count_adjacent(new, stored.time, step_ms),
            )
            manifest.update_series(connection, series)
            recent.delete_provisional(connection, series.series_id, series.last_time)
        return classified, series
