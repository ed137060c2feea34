"""Takes predictions and outcomes off the request path and writes them in groups."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from serve_app.experiments.history import OutcomeResult, RecordedOutcome
from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.store.store import ExperimentStore
from serve_app.experiments.store_errors import (
    BufferFullError,
    DamagedStoreError,
    LogClosedError,
    UnavailableStoreError,
)

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
Result = TypeVar("Result")

_NOT_NOW = UnavailableStoreError, DamagedStoreError
"""After these nothing is given up: the database may be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """How long and how much may wait; the line under a field says what its default costs."""

    max_age_s: float = 0.1
    """How old a prediction gets before it is written; what a crash of this process can lose, unless
    its sender waits for `record_predictions` and sends again."""
    max_group: int = 1000
    """Predictions in one transaction; as many are written at once."""
    max_waiting: int = 100_000
    """Predictions, and outcomes, that wait while the database is down, some 40 MB; more are
    refused."""
    unknown_grace_s: float = 0.3
    """How long an outcome of an unknown prediction waits before it is called unknown: the
    prediction may be on its way from a router. Longer than routers keep their groups."""
    first_retry_s: float = 0.1
    last_retry_s: float = 5.0
    """Pause after a failed attempt; doubled from the first to the last."""
    drain_timeout_s: float = 10.0
    """How long `close` tries to write what waits."""


@dataclass(slots=True, kw_only=True)
class LogCounters:
    """What became of everything that was sent, since the log was opened."""

    written: int = 0
    repeated: int = 0
    """Predictions that were stored already."""
    refused: int = 0
    """Predictions that cannot be stored; the reason was logged."""
    overflowed: int = 0
    """Predictions that were not taken, since too many waited."""
    lost: int = 0
    """Predictions that still waited when the log was closed, and could not be written."""
    failed_attempts: int = 0
    outcomes: Counter[OutcomeResult] = field(default_factory=Counter)


@dataclass(slots=True)
class _Request:
    """Outcomes that somebody waits for."""

    outcomes: Sequence[Outcome]
    answer: asyncio.Future[list[RecordedOutcome]]


class ExperimentLog:
    """The single writer's front: buffers, groups, retries, and acknowledges what is committed.

    Everything runs in one event loop, the database's work in a thread of its own. While the
    database is down predictions wait, up to a limit, and outcomes fail at once with the reason.
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
        self._hurry = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._overflows = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many predictions are not written yet."""
        return len(self._waiting)

    def add_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Take predictions to be written soon; all of them or none.

        Raises:
            BufferFullError: too many wait; these were not taken, and are counted.
            LogClosedError: the log was closed.
        """
        self._check_open()
        before = len(self._waiting)
        if before + len(records) > self._limits.max_waiting:
            self._refuse(len(records))
        self._overflows = False
        if self._oldest_at is None:
            self._oldest_at = self._clock()
        self._waiting.extend(records)
        self._added += len(records)
        if before < self._limits.max_group <= len(self._waiting):
            self._hurry.set()
        self._start_writer()

    async def record_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Take predictions, and return when they are committed (or refused, which is logged).

        A sender that gets no answer sends the group again; each prediction counts once.

        Raises:
            BufferFullError: too many wait; these were not taken, and are counted.
            LogClosedError: the log was closed before they could be written.
        """
        self.add_predictions(records)
        if self._done < self._added:
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._senders.append((self._added, written))
            await written

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        """Store outcomes and return what became of each, in the same order, once it is committed.

        All predictions taken so far are written first. An outcome whose prediction is still unknown
        is tried once more after `unknown_grace_s`.

        Raises:
            UnavailableStoreError: not acknowledged; sending all again is safe.
            BufferFullError: too many outcomes wait; these were not taken.
            LogClosedError: the log was closed.
        """
        recorded = await self._ask(outcomes)
        unknown = [at for at, each in enumerate(recorded) if each.result is OutcomeResult.UNKNOWN]
        if unknown:
            await self._sleep(self._limits.unknown_grace_s)
            again = await self._ask([outcomes[at] for at in unknown])
            for at, each in zip(unknown, again, strict=True):
                recorded[at] = each
        self.counters.outcomes.update(each.result for each in recorded)
        return recorded

    async def flush(self) -> None:
        """Write all predictions taken so far; an analysis that follows sees them.

        Raises:
            UnavailableStoreError: they are not written yet, and go on waiting.
            LogClosedError: the log was closed.
        """
        await self._ask([])

    async def close(self) -> None:
        """Write what waits and take nothing more; what cannot be written is counted and logged.

        Raises:
            StoreError: why predictions were lost.
        """
        self._closed = True
        self._hurry.set()
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=self._limits.drain_timeout_s)
            self._writer.cancel()
            await asyncio.wait({self._writer})
        self._thread.shutdown(wait=False, cancel_futures=True)
        for request in self._requests:
            _fail(request.answer, LogClosedError())
        for _, written in self._senders:
            _fail(written, self._failure or LogClosedError())
        self._requests, self._senders = [], deque()
        if self._waiting:
            self.counters.lost = len(self._waiting)
            logger.error("%d predictions lost at closing: %s", len(self._waiting), self._failure)
            self._waiting.clear()
            raise self._failure or LogClosedError()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError

    def _refuse(self, count: int) -> None:
        waiting, limit = len(self._waiting), self._limits.max_waiting
        self.counters.overflowed += count
        error = BufferFullError("predictions", limit, waiting, count)
        if not self._overflows:
            # Once, until there is room again; the counter has all.
            logger.error("%s", error)
            self._overflows = True
        raise error

    async def _ask(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        self._check_open()
        waiting, limit = (
            sum(len(each.outcomes) for each in self._requests),
            self._limits.max_waiting,
        )
        if waiting and waiting + len(outcomes) > limit:
            raise BufferFullError("outcomes", limit, waiting, len(outcomes))
        answer: asyncio.Future[list[RecordedOutcome]] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(outcomes, answer))
        self._hurry.set()
        self._start_writer()
        return await answer

    def _start_writer(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until nothing waits."""
        pause_s = self._limits.first_retry_s
        while self._waiting or self._requests:
            await self._let_a_group_gather()
            requests, self._requests = self._requests, []
            try:
                await self._write_waiting()
                if requests:
                    await self._answer(requests)
            except asyncio.CancelledError:
                for request in requests:
                    _fail(request.answer, self._failure or LogClosedError())
                raise
            except Exception as error:
                self.counters.failed_attempts += 1
                for request in requests:
                    _fail(request.answer, error)
                if self._failure is None:
                    logger.exception("%d predictions wait for the database", len(self._waiting))
                self._failure = error
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, self._limits.last_retry_s)
            else:
                if self._failure is not None:
                    logger.info("the database takes predictions again")
                self._failure = None
                pause_s = self._limits.first_retry_s

    async def _let_a_group_gather(self) -> None:
        if self._requests or self._closed or self._failure is not None or self._oldest_at is None:
            return
        left_s = self._oldest_at + self._limits.max_age_s - self._clock()
        if left_s > 0 and len(self._waiting) < self._limits.max_group:
            await self._pause(left_s)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not once somebody is in a hurry."""
        ends = [asyncio.ensure_future(each) for each in (self._sleep(seconds), self._hurry.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()
            self._hurry.clear()

    async def _write_waiting(self) -> None:
        """Write what waits now; what is not written stays."""
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
        except _NOT_NOW:
            raise
        except Exception:
            if len(group) == 1:
                logger.exception("prediction %r cannot be stored", group[0].prediction_id)
                self.counters.refused += 1
                return
            for record in group:
                await self._write_group([record])
            return
        self.counters.written += result.written
        self.counters.repeated += result.repeated
        self.counters.refused += len(result.refused)
        for each in result.refused:
            logger.error("prediction %r was not stored: %s", each.prediction_id, each.reason)

    async def _answer(self, requests: Sequence[_Request]) -> None:
        """Store the outcomes of all requests in one transaction, and answer each."""
        outcomes = [outcome for request in requests for outcome in request.outcomes]
        try:
            recorded = await self._in_thread(self._store.record_outcomes, outcomes)
        except _NOT_NOW:
            raise
        except Exception as error:
            if len(requests) == 1:
                logger.exception("outcomes cannot be stored")
                _fail(requests[0].answer, error)
                return
            # One is at fault; the others are not to suffer.
            for request in requests:
                await self._answer([request])
            return
        start = 0
        for request in requests:
            end = start + len(request.outcomes)
            if not request.answer.done():
                request.answer.set_result(recorded[start:end])
            start = end

    async def _in_thread(
        self, call: Callable[[Sequence[Value]], Result], values: Sequence[Value]
    ) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, values)


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
