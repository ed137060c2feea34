"""The experiment log: writes predictions and outcomes in groups, off the request path."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from serve_app.experiments.history import OutcomeResult, RecordedOutcome
from serve_app.experiments.prediction_ids import issue_time
from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.store.store import ExperimentStore
from serve_app.experiments.store_errors import (
    BufferFullError,
    DamagedStoreError,
    LatePredictionsError,
    LogClosedError,
    UnavailableStoreError,
)

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
Result = TypeVar("Result")

_RETRYABLE = UnavailableStoreError, DamagedStoreError
"""Errors after which predictions are kept, since the database may become available again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """Limits on how long and how many records wait; the docstring of a field states its cost."""

    max_age_s: float = 0.1
    """The age at which a prediction is written. A crash of this process loses younger ones, unless
    their sender awaits `record_predictions` and sends them again."""
    max_group: int = 1000
    """The most predictions per transaction; so many are written without waiting for `max_age_s`."""
    max_waiting: int = 100_000
    """The most predictions, and the most outcomes, that wait while the database is unavailable,
    about 40 MB; more are rejected."""
    unknown_grace_s: float = 0.3
    """The time that an outcome waits for a prediction that is not stored: it may still be on its
    way from a router. It exceeds the age of the routers' groups."""
    late_arrivals_s: float = 0.0
    """The time after the database was opened or became available again in which predictions that
    waited in routers still arrive: outcomes of older ones that are not stored fail until then."""
    first_retry_s: float = 0.1
    last_retry_s: float = 5.0
    """The pause after a failed attempt doubles from `first_retry_s` to `last_retry_s`."""
    drain_timeout_s: float = 10.0
    """The time in which `close` tries to write the waiting records."""


@dataclass(slots=True, kw_only=True)
class LogCounters:
    """The number of records by their result, since the log was opened."""

    written: int = 0
    repeated: int = 0
    """Predictions that were already stored."""
    rejected: int = 0
    """Predictions that cannot be stored; the reason is logged."""
    overflowed: int = 0
    """Predictions that were rejected because the buffer was full."""
    lost: int = 0
    """Predictions that were waiting and could not be written when the log was closed."""
    failed_attempts: int = 0
    outcomes: Counter[OutcomeResult] = field(default_factory=Counter)


@dataclass(slots=True)
class _Request:
    """Outcomes whose sender awaits the results."""

    outcomes: Sequence[Outcome]
    results: asyncio.Future[list[RecordedOutcome]]


class ExperimentLog:
    """The buffer in front of the store: groups records, retries, and acknowledges commits.

    All methods run in one event loop; a single thread executes the database calls. While the
    database is unavailable, predictions wait, up to a limit, and outcomes fail immediately with the
    reason.
    """

    def __init__(
        self,
        store: ExperimentStore,
        limits: LogLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.counters = LogCounters()
        self._store = store
        self._limits = limits or LogLimits()
        self._clock, self._sleep = clock, sleep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="experiments")
        self._waiting: deque[PredictionRecord] = deque()
        self._oldest_at: float | None = None
        self._added = self._done = 0
        self._senders: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._requests: list[_Request] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._available_at = datetime.now(UTC)
        self._overflows = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Return the number of predictions that are not written yet."""
        return len(self._waiting)

    def add_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Accept predictions to be written soon: all of them or none.

        Raises:
            BufferFullError: the buffer is full; the predictions were rejected and counted.
            LogClosedError: the log is closed.
        """
        self._check_open()
        before = len(self._waiting)
        if before + len(records) > self._limits.max_waiting:
            self._overflow(len(records))
        self._overflows = False
        if self._oldest_at is None:
            self._oldest_at = self._clock()
        self._waiting.extend(records)
        self._added += len(records)
        if before < self._limits.max_group <= len(self._waiting):
            self._wake.set()
        self._start_writer()

    async def record_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Accept predictions, and return when they are committed (or rejected, which is logged).

        A sender whose call fails can send the group again; each prediction is counted once.

        Raises:
            BufferFullError: the buffer is full; the predictions were rejected and counted.
            LogClosedError: the log was closed before they could be written.
        """
        self.add_predictions(records)
        if self._done < self._added:
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._senders.append((self._added, written))
            await written

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        """Store outcomes, and return the result of each in the same order once it is committed.

        All predictions accepted so far are written first. An outcome whose prediction is not
        stored is tried once more after `unknown_grace_s`.

        Raises:
            UnavailableStoreError: the outcomes were not acknowledged; it is safe to send all again.
            LatePredictionsError: a prediction may still arrive; it is safe to send all again.
            BufferFullError: too many outcomes are waiting; these were rejected.
            LogClosedError: the log is closed.
        """
        results = await self._submit(outcomes)
        unknown = [
            index
            for index, recorded in enumerate(results)
            if recorded.result in (OutcomeResult.UNRECORDED, OutcomeResult.UNKNOWN)
        ]
        if unknown:
            await self._sleep(self._limits.unknown_grace_s)
            again = await self._submit([outcomes[index] for index in unknown])
            self._check_late(again)
            for index, recorded in zip(unknown, again, strict=True):
                results[index] = recorded
        self.counters.outcomes.update(recorded.result for recorded in results)
        return results

    async def flush(self) -> None:
        """Write all predictions accepted so far, so that a subsequent analysis includes them.

        Raises:
            UnavailableStoreError: the predictions are not written yet; they remain in the buffer.
            LogClosedError: the log is closed.
        """
        await self._submit([])

    async def write_canary(self) -> None:
        """Commit the time, behind the writes that are in progress.

        Raises:
            StoreError: the database cannot be written.
            LogClosedError: the log is closed.
        """
        self._check_open()
        await asyncio.get_running_loop().run_in_executor(
            self._thread, self._store.write_canary, datetime.now(UTC)
        )

    async def close(self) -> None:
        """Write the waiting records and accept no more; lost predictions are counted and logged.

        Raises:
            StoreError: predictions were lost for this reason.
        """
        self._closed = True
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=self._limits.drain_timeout_s)
            self._writer.cancel()
            await asyncio.wait({self._writer})
        self._thread.shutdown(wait=False, cancel_futures=True)
        for request in self._requests:
            _fail(request.results, LogClosedError())
        for _, written in self._senders:
            _fail(written, self._failure or LogClosedError())
        self._requests, self._senders = [], deque()
        if self._waiting:
            self.counters.lost = len(self._waiting)
            logger.error(
                "%d predictions lost when the log was closed: %s", len(self._waiting), self._failure
            )
            self._waiting.clear()
            raise self._failure or LogClosedError()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError

    def _check_late(self, recorded: Sequence[RecordedOutcome]) -> None:
        """Raise if a prediction that is not stored may have waited while the database could not."""
        since_s = (datetime.now(UTC) - self._available_at).total_seconds()
        if since_s > self._limits.late_arrivals_s:
            return
        for one in recorded:
            issued_at = issue_time(one.outcome.prediction_id)
            if (
                one.result is OutcomeResult.UNRECORDED
                and issued_at is not None
                and issued_at < self._available_at
            ):
                raise LatePredictionsError(one.outcome.prediction_id)

    def _overflow(self, count: int) -> None:
        waiting, limit = len(self._waiting), self._limits.max_waiting
        self.counters.overflowed += count
        error = BufferFullError("predictions", limit, waiting, count)
        if not self._overflows:
            # Logged once, until a group is accepted again; the counter includes every group.
            logger.error("%s", error)
            self._overflows = True
        raise error

    async def _submit(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        self._check_open()
        waiting = sum(len(request.outcomes) for request in self._requests)
        limit = self._limits.max_waiting
        if waiting and waiting + len(outcomes) > limit:
            raise BufferFullError("outcomes", limit, waiting, len(outcomes))
        results: asyncio.Future[list[RecordedOutcome]] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(outcomes, results))
        self._wake.set()
        self._start_writer()
        return await results

    def _start_writer(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until no record is waiting."""
        pause_s = self._limits.first_retry_s
        while self._waiting or self._requests:
            await self._wait_for_group()
            requests, self._requests = self._requests, []
            try:
                await self._write_waiting()
                if requests:
                    await self._record(requests)
            except asyncio.CancelledError:
                for request in requests:
                    _fail(request.results, self._failure or LogClosedError())
                raise
            except Exception as error:
                self.counters.failed_attempts += 1
                for request in requests:
                    _fail(request.results, error)
                if self._failure is None:
                    waiting = len(self._waiting)
                    logger.exception("database unavailable: %d predictions are waiting", waiting)
                self._failure = error
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, self._limits.last_retry_s)
            else:
                if self._failure is not None:
                    logger.info("database available again: the waiting predictions are written")
                    self._available_at = datetime.now(UTC)
                self._failure = None
                pause_s = self._limits.first_retry_s

    async def _wait_for_group(self) -> None:
        """Wait until the oldest prediction reaches `max_age_s` or a full group is waiting."""
        if self._requests or self._closed or self._failure is not None or self._oldest_at is None:
            return
        left_s = self._oldest_at + self._limits.max_age_s - self._clock()
        if left_s > 0 and len(self._waiting) < self._limits.max_group:
            await self._pause(left_s)

    async def _pause(self, seconds: float) -> None:
        """Wait for a time, or until `_wake` is set."""
        events = self._sleep(seconds), self._wake.wait()
        waits = [asyncio.ensure_future(event) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._wake.clear()

    async def _write_waiting(self) -> None:
        """Write the predictions that are waiting now; those that fail remain in the buffer."""
        until, self._oldest_at = self._added, None
        while self._done < until:
            group = list(islice(self._waiting, self._limits.max_group))
            await self._write_group(group)
            for _ in group:
                self._waiting.popleft()
            self._done += len(group)
            while self._senders and self._senders[0][0] <= self._done:
                _, written = self._senders.popleft()
                if not written.done():
                    written.set_result(None)

    async def _write_group(self, group: Sequence[PredictionRecord]) -> None:
        try:
            result = await self._in_thread(self._store.write_predictions, group)
        except _RETRYABLE:
            raise
        except Exception:
            if len(group) == 1:
                logger.exception("prediction %r rejected", group[0].prediction_id)
                self.counters.rejected += 1
                return
            for record in group:
                await self._write_group([record])
            return
        self.counters.written += result.written
        self.counters.repeated += result.repeated
        self.counters.rejected += len(result.rejected)
        for rejected in result.rejected:
            logger.error("prediction %r rejected: %s", rejected.prediction_id, rejected.reason)

    async def _record(self, requests: Sequence[_Request]) -> None:
        """Store the outcomes of all requests in one transaction, and set the results of each."""
        outcomes = [outcome for request in requests for outcome in request.outcomes]
        try:
            recorded = await self._in_thread(self._store.record_outcomes, outcomes)
        except _RETRYABLE:
            raise
        except Exception as error:
            if len(requests) == 1:
                logger.exception("outcomes rejected")
                _fail(requests[0].results, error)
                return
            # One request caused the error: the others are written without it.
            for request in requests:
                await self._record([request])
            return
        start = 0
        for request in requests:
            end = start + len(request.outcomes)
            if not request.results.done():
                request.results.set_result(recorded[start:end])
            start = end

    async def _in_thread(
        self, call: Callable[[Sequence[Value]], Result], values: Sequence[Value]
    ) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, values)


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
