"""The bar log of a server: opened in the background, watched, compacted, and written in groups."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from features.bar_log import BarLog
from features.bar_log.streams import read_stream, write_bars
from features.bars import Symbol
from features.errors import (
    BarLogError,
    FeaturesError,
    InvalidColumnsError,
    InvalidTimeError,
    UnknownSeriesError,
)
from features.pushes import Appended, Push
from features.timeframes import Timeframe
from serve_app.bars.changes import Change, Changes, Cursor, RecentChanges
from serve_app.bars.commits import GroupCommits
from serve_app.bars.pushes import PushReport, newest_of, report_of
from serve_app.bars.queries import (
    BarPage,
    BarQuery,
    History,
    HistoryQuery,
    SeriesStatus,
    read_history,
    read_page,
)
from serve_app.errors import BarsUnavailableError, InvalidRequestError, UnknownSymbolError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

OPENING_S = 2.0
"""How long `open` waits for the log, and the delay between attempts to open it."""

CANARY_PERIOD_S = 0.6
"""Period of the commits that show whether the log can be written."""

CANARY_S = 0.8
"""Time after which such a commit counts as failed, so that health is accurate within 2 s. It waits
for the commit of a large push."""

COMPACTION_ROWS = 10_000
"""Committed rows after which the log is compacted."""

COMPACTION_PERIOD_S = 60.0
"""Period of the compaction otherwise."""

RETENTION_PERIOD_S = 3600.0

DAY_MS = 86_400_000


class BarLogService:
    """Owns a bar log; its methods run in one event loop and raise ServingErrors.

    The log is opened in the background: a process that writes it, or a database that is not
    available, delays it, and nothing fails but pushes and queries.

    Args:
        folder: the folder of the log.
        url: of its database; None for the SQLite file in the folder.
        keep_days: the age up to which bars are kept, None for all.
        committed: receives the results of each commit, for metrics.
        now_ms: returns the time now.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None,
        keep_days: float | None = None,
        committed: Callable[[Sequence[Appended]], None] = lambda _: None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._folder, self._url, self._keep_days = folder, url, keep_days
        self._count, self._now_ms = committed, now_ms
        self._log: BarLog | None = None
        self._problem: str | None = "it is being opened"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bars")
        self._commits = GroupCommits(self._append, self._thread, self._on_commit)
        self._recent = RecentChanges()
        self._uncompacted = 0
        self._is_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to open the log; return once it is open, or after OPENING_S."""
        first_attempt = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._open_and_maintain(first_attempt)))
        with suppress(TimeoutError):
            await asyncio.wait_for(first_attempt.wait(), OPENING_S)

    async def close(self) -> None:
        """End the background work and close the log."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown()
        if self._log is not None:
            self._log.close()

    async def problem(self) -> str | None:
        """Return why bars cannot be stored now, None while they can; never waits."""
        return self._problem

    async def append(self, pushes: Sequence[Push]) -> PushReport:
        """Append pushes; return once they are committed.

        Raises:
            BarsUnavailableError: nothing was acknowledged; a retry is safe.
        """
        with _as_serving_errors():
            appended = await self._commits.append(pushes)
        report = report_of(appended, [None] * len(pushes))
        return replace(report, newest=newest_of(pushes, appended))

    async def append_stream(
        self, body: bytes, symbol: Symbol | None, timeframe: Timeframe | None
    ) -> PushReport:
        """Append the bars of an Arrow IPC stream, of one symbol or several; see `read_stream`.

        Raises:
            InvalidRequestError: it is no such stream.
            BarsUnavailableError: nothing was acknowledged; a retry is safe.
        """
        with _as_serving_errors():
            streamed, invalid = await asyncio.to_thread(read_stream, body, symbol, timeframe)
            pushes = [one.push for one in streamed]
            appended = await self._commits.append(pushes)
        report = report_of(appended, [one.rows for one in streamed], invalid)
        return replace(report, newest=newest_of(pushes, appended))

    async def query(self, query: BarQuery) -> BarPage:
        """Return bars.

        Raises:
            UnknownSymbolError: the log has no such bars.
            InvalidRequestError: the query needs a timeframe.
            BarsUnavailableError: the log cannot be read.
        """
        return await self._read(lambda log: read_page(log.reader, query))

    async def query_stream(self, query: BarQuery) -> bytes:
        """Return bars as an Arrow IPC stream; see `query` for the errors."""

        def read(log: BarLog) -> bytes:
            page = read_page(log.reader, query)
            names = page.symbol, page.timeframe.name
            return write_bars(page.bars, *names, page.gaps, page.following_ms)

        return await self._read(read)

    async def history(self, query: HistoryQuery) -> History:
        """Return every row of consecutive bars.

        Raises:
            UnknownSymbolError: the log has no such bars.
            InvalidRequestError: the range has more bars than the limit.
            BarsUnavailableError: the log cannot be read.
        """
        return await self._read(lambda log: read_history(log.reader, query))

    async def symbols(self) -> list[SeriesStatus]:
        """Return what the log has, by symbol and timeframe."""

        def read(log: BarLog) -> list[SeriesStatus]:
            now_ms = self._now_ms()
            found = log.reader.series()
            return [SeriesStatus(summary, summary.age_ms(now_ms)) for summary in found]

        return await self._read(read)

    async def changes_since(self, cursor: Cursor | None, wait_s: float) -> Changes:
        """Return what was committed after a position; see `RecentChanges.since`.

        A follower first calls this without a position, then reads the log, and then continues from
        the position that it received: it may see bars twice, and misses none.
        """
        return await self._recent.since(cursor, wait_s)

    async def _read(self, read: Callable[[BarLog], Result]) -> Result:
        with _as_serving_errors():
            return await asyncio.to_thread(read, self._opened())

    def _opened(self) -> BarLog:
        if self._log is None:
            raise BarsUnavailableError(str(self._problem))
        return self._log

    def _append(self, pushes: Sequence[Push]) -> list[Appended]:
        return self._opened().append_all(pushes, self._now_ms())

    def _on_commit(self, pushes: Sequence[Push], appended: Sequence[Appended]) -> None:
        self._count(appended)
        self._recent.add(
            [
                Change(push.symbol, push.timeframe.name, result.stored, result.provisional)
                for push, result in zip(pushes, appended, strict=True)
                if len(result.stored) or len(result.provisional)
            ]
        )
        self._uncompacted += sum(len(result.stored) for result in appended)
        if self._uncompacted >= COMPACTION_ROWS:
            self._is_due.set()

    async def _open_and_maintain(self, first_attempt: asyncio.Event) -> None:
        while self._log is None:
            try:
                self._log = await asyncio.to_thread(BarLog, self._folder, self._url)
            except FeaturesError as error:
                self._problem = str(error)
                logger.error(  # noqa: TRY400
                    "bar log not opened, next attempt in %g s: %s", OPENING_S, error
                )
                first_attempt.set()
                await asyncio.sleep(OPENING_S)
        self._problem = None
        first_attempt.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_canaries(self._log))
            tasks.create_task(self._compact(self._log))
            if self._keep_days is not None:
                tasks.create_task(self._drop_old(self._log, round(self._keep_days * DAY_MS)))

    async def _write_canaries(self, log: BarLog) -> None:
        loop = asyncio.get_running_loop()
        while True:
            problem = None
            try:
                async with asyncio.timeout(CANARY_S):
                    await loop.run_in_executor(self._thread, log.write_canary)
                    problem = await asyncio.to_thread(log.shortage)
            except TimeoutError:
                problem = f"a commit takes longer than {CANARY_S:g} s"
            except FeaturesError as error:
                problem = str(error)
            # The canary survives any error; without it the problem would never change again.
            except Exception as error:  # noqa: BLE001
                problem = repr(error)
            if problem is not None and self._problem is None:
                logger.error("bar log has a problem: %s", problem)
            elif problem is None and self._problem is not None:
                logger.info("bar log has no problem any more")
            self._problem = problem
            await asyncio.sleep(CANARY_PERIOD_S)

    async def _compact(self, log: BarLog) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_due.wait(), COMPACTION_PERIOD_S)
            self._is_due.clear()
            if not self._uncompacted:
                continue
            self._uncompacted = 0
            await self._maintained("compacted", asyncio.to_thread(log.compact))

    async def _drop_old(self, log: BarLog, keep_ms: int) -> None:
        while True:
            dropping = asyncio.to_thread(log.drop_before, self._now_ms() - keep_ms)
            await self._maintained("shortened", dropping)
            await asyncio.sleep(RETENTION_PERIOD_S)

    async def _maintained(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        # The log stays correct without it, and the next attempt may succeed.
        except Exception:
            logger.exception("bar log not %s, next attempt later", what)


@contextmanager
def _as_serving_errors() -> Iterator[None]:
    """Raise the errors of the log as errors of serving."""
    try:
        yield
    except UnknownSeriesError as error:
        raise UnknownSymbolError(error.symbol, error.timeframe, error.known) from error
    except (InvalidColumnsError, InvalidTimeError) as error:
        expected = "an Arrow IPC stream of bars"
        raise InvalidRequestError("body", expected, f"another one: {error.problem}") from error
    except BarLogError as error:
        raise BarsUnavailableError(str(error)) from error
