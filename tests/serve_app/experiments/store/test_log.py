"""The log writes records in groups, off the request path, and loses none silently."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from serve_app.experiments.prediction_ids import new_prediction_id
from serve_app.experiments.store import ExperimentStore, OutcomeResult
from serve_app.experiments.store.log import ExperimentLog, LogLimits
from serve_app.experiments.store_errors import (
    BufferFullError,
    LatePredictionsError,
    LogClosedError,
    RejectedRowError,
    UnavailableStoreError,
)
from tests.serve_app.experiments.store.builders import (
    START,
    assert_summaries_equal_rows,
    definition,
    outcome,
    prediction,
    total,
)


class WatchedStore:
    """A store that records its calls and fails on demand."""

    def __init__(self, store):
        self._store = store
        self.groups = []
        self.batches = []
        self.down = False
        self.poison = None

    def write_predictions(self, records):
        self._fail()
        if self.poison in {record.prediction_id for record in records}:
            raise RejectedRowError("url", "no such value")
        self.groups.append(len(records))
        return self._store.write_predictions(records)

    def record_outcomes(self, outcomes):
        self._fail()
        if any(outcome.prediction_id == self.poison for outcome in outcomes):
            raise RejectedRowError("url", "no such value")
        self.batches.append(len(outcomes))
        return self._store.record_outcomes(outcomes)

    def write_canary(self, now):
        self._fail()
        self._store.write_canary(now)

    def _fail(self):
        if self.down:
            raise UnavailableStoreError("url", "connection refused")


class Sleeps:
    """A clock that the test advances."""

    def __init__(self):
        self.now = 0.0
        self.requested = []
        self._waiting = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.requested.append(round(seconds, 6))
        over = asyncio.Event()
        self._waiting.append((self.now + seconds, over))
        await over.wait()

    async def pass_time(self, seconds):
        self.now += seconds
        for until, over in self._waiting:
            if until <= self.now + 1e-9:
                over.set()
        await settle()


async def settle():
    """Let the writer's task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0.001)


async def until(condition):
    """Wait for a condition, however slow the machine is."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


@pytest.fixture
def real_store(sqlite_url):
    with ExperimentStore(sqlite_url) as store:
        store.create_experiment(definition(), START)
        yield store


@pytest.fixture
def store(real_store):
    return WatchedStore(real_store)


@pytest.fixture
def sleeps():
    return Sleeps()


@pytest.fixture
async def log(store, sleeps):
    limits = LogLimits(max_group=10, max_waiting=30)
    log = ExperimentLog(store, limits, clock=sleeps.clock, sleep=sleeps.sleep)
    yield log
    store.down = False
    await log.close()


def predictions(count, start=0):
    return [prediction(f"p{number}") for number in range(start, start + count)]


async def test_written_by_age(log, store, sleeps):
    """A prediction is written when the oldest of its group is 100 ms old."""
    log.add_predictions(predictions(1))
    await settle()
    await sleeps.pass_time(0.06)
    log.add_predictions(predictions(2, start=1))
    await sleeps.pass_time(0.03)
    assert store.groups == []
    await sleeps.pass_time(0.01)
    await until(lambda: log.waiting == 0)
    assert store.groups == [3]
    assert sleeps.requested == [0.1]


async def test_full_group(log, store):
    """A full group is written immediately."""
    log.add_predictions(predictions(25))
    await until(lambda: log.waiting == 0)
    assert store.groups == [10, 10, 5]


async def test_awaited_predictions(log, real_store, sleeps):
    """`record_predictions` returns when the predictions are committed."""
    sender = asyncio.create_task(log.record_predictions(predictions(3)))
    await settle()
    assert not sender.done()
    assert list(real_store.predictions()) == []
    await sleeps.pass_time(0.1)
    await sender
    assert len(list(real_store.predictions())) == 3


async def test_outcome_of_waiting_prediction(log):
    """Waiting predictions are written before an outcome."""
    log.add_predictions(predictions(1))
    (recorded,) = await log.record_outcomes([outcome("p0")])
    assert recorded.result is OutcomeResult.ACCEPTED


async def test_flush(log, real_store):
    """`flush` writes the waiting predictions."""
    log.add_predictions(predictions(3))
    await log.flush()
    assert total(real_store, "control", "predictions") == 3


async def test_concurrent_outcomes(log, store):
    """Concurrent senders share a commit, and each receives its own results."""
    log.add_predictions(predictions(4))
    answers = await asyncio.gather(
        log.record_outcomes([outcome("p0"), outcome("p1")]),
        log.record_outcomes([outcome("p1", 0.5)]),
        log.record_outcomes([outcome("p2"), outcome("p0")]),
    )
    names = [[recorded.result.value for recorded in answer] for answer in answers]
    assert names == [["accepted", "accepted"], ["conflict"], ["accepted", "duplicate"]]
    assert store.batches == [5]
    assert log.counters.outcomes[OutcomeResult.ACCEPTED] == 3


async def test_outcome_overtakes_prediction(log, sleeps):
    """An outcome is tried again after 0.3 s, since its prediction may be on its way."""
    recording = asyncio.create_task(log.record_outcomes([outcome("p0"), outcome("none")]))
    await until(lambda: sleeps.requested)
    assert sleeps.requested[-1] == 0.3
    assert not recording.done()
    log.add_predictions(predictions(1))
    await sleeps.pass_time(0.3)
    results = [recorded.result.value for recorded in await recording]
    assert results == ["accepted", "unknown"]


async def test_unavailable_database(log, store, real_store, sleeps, caplog):
    """While the database is unavailable, predictions wait and outcomes fail."""
    store.down = True
    sender = asyncio.create_task(log.record_predictions(predictions(5)))
    await settle()
    with pytest.raises(UnavailableStoreError, match="connection refused"):
        await log.record_outcomes([outcome("p0")])
    for attempts in (2, 3):
        await settle()
        await sleeps.pass_time(10)
        await until(lambda attempts=attempts: log.counters.failed_attempts == attempts)
    assert (log.waiting, sender.done()) == (5, False)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    store.down = False
    await settle()
    await sleeps.pass_time(10)
    await sender
    (recorded,) = await log.record_outcomes([outcome("p0")])
    assert recorded.result is OutcomeResult.ACCEPTED
    assert_summaries_equal_rows(real_store)


async def test_backoff(log, store, sleeps):
    """The pause between attempts doubles up to 5 s."""
    store.down = True
    log.add_predictions(predictions(1))
    for number in range(1, 10):
        await until(lambda number=number: len(sleeps.requested) == number)
        await sleeps.pass_time(100)
    assert sleeps.requested[:9] == [0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_full_buffer(log, store, caplog):
    """A group that does not fit is rejected as a whole, counted, and logged once."""
    store.down = True
    log.add_predictions(predictions(28))
    for _ in range(2):
        with pytest.raises(BufferFullError, match="not recorded: 28 are waiting"):
            log.add_predictions(predictions(3, start=28))
    log.add_predictions(predictions(2, start=28))
    assert log.counters.overflowed == 6
    refusals = [record for record in caplog.records if "were not recorded" in record.getMessage()]
    assert len(refusals) == 1
    assert log.waiting == 30


async def test_too_many_outcomes(log, store):
    """More outcomes than may wait are rejected."""
    first = asyncio.create_task(log.record_outcomes([outcome(f"p{n}") for n in range(30)]))
    await asyncio.sleep(0)
    with pytest.raises(BufferFullError, match="1 outcomes were not recorded"):
        await log.record_outcomes([outcome("p0")])
    first.cancel()


async def test_unstorable_prediction(log, store, real_store, caplog):
    """A prediction that cannot be stored does not block the others."""
    store.poison = "p1"
    log.add_predictions(predictions(10))
    await until(lambda: log.waiting == 0)
    assert (log.counters.written, log.counters.rejected) == (9, 1)
    assert "'p1' rejected" in caplog.text
    assert total(real_store, "control", "predictions") == 9


async def test_unstorable_outcomes(log, store):
    """Outcomes that cannot be stored fail for their own sender only."""
    store.poison = "bad"
    log.add_predictions(predictions(2))
    first, bad, second = await asyncio.gather(
        log.record_outcomes([outcome("p0")]),
        log.record_outcomes([outcome("bad")]),
        log.record_outcomes([outcome("p1")]),
        return_exceptions=True,
    )
    assert isinstance(bad, RejectedRowError)
    assert [recorded.result.value for recorded in (*first, *second)] == ["accepted", "accepted"]


async def test_cancelled_sender(log, store):
    """A cancelled call does not affect other senders."""
    log.add_predictions(predictions(2))
    gone = asyncio.create_task(log.record_outcomes([outcome("p0")]))
    await asyncio.sleep(0)
    gone.cancel()
    (recorded,) = await log.record_outcomes([outcome("p1")])
    assert recorded.result is OutcomeResult.ACCEPTED
    (again,) = await log.record_outcomes([outcome("p0")])
    assert again.result in {OutcomeResult.ACCEPTED, OutcomeResult.DUPLICATE}


async def test_close(log, real_store):
    """`close` writes the waiting predictions; after it, every call fails."""
    log.add_predictions(predictions(25))
    await log.close()
    assert total(real_store, "control", "predictions") == 25
    for call in (log.record_outcomes([outcome("p0")]), log.flush()):
        with pytest.raises(LogClosedError):
            await call
    with pytest.raises(LogClosedError):
        log.add_predictions(predictions(1))


async def test_close_without_database(store, caplog):
    """Predictions that `close` cannot write are counted, logged and raised."""
    log = ExperimentLog(store, LogLimits(drain_timeout_s=0.2))
    store.down = True
    sender = asyncio.create_task(log.record_predictions(predictions(3)))
    log.add_predictions(predictions(4, start=3))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableStoreError, match="connection refused"):
        await log.close()
    with pytest.raises(UnavailableStoreError):
        await sender
    assert log.counters.lost == 7
    assert "7 predictions lost when the log was closed" in caplog.text


async def test_canary(real_store):
    """A canary is a commit of its own, and fails while the database does."""
    store = WatchedStore(real_store)
    log = ExperimentLog(store)
    await log.write_canary()
    await log.write_canary()
    store.down = True
    with pytest.raises(UnavailableStoreError, match="connection refused"):
        await log.write_canary()
    await log.close()
    with pytest.raises(LogClosedError):
        await log.write_canary()


async def test_late_predictions(real_store):
    """While routers may still send predictions that waited for the database, their outcomes fail.

    An id that was issued afterwards is unrecorded, and so are all once the time has passed.
    """
    earlier = new_prediction_id(datetime.now(UTC) - timedelta(minutes=5))
    late = ExperimentLog(real_store, LogLimits(unknown_grace_s=0, late_arrivals_s=60))
    with pytest.raises(LatePredictionsError, match="send the outcome again"):
        await late.record_outcomes([outcome("a"), outcome(earlier)])
    later = new_prediction_id(datetime.now(UTC) + timedelta(minutes=5))
    (recorded,) = await late.record_outcomes([outcome(later)])
    assert recorded.result is OutcomeResult.UNRECORDED
    await late.record_predictions([prediction(earlier)])
    (recorded,) = await late.record_outcomes([outcome(earlier)])
    assert recorded.result is OutcomeResult.ACCEPTED
    await late.close()
    afterwards = ExperimentLog(real_store, LogLimits(unknown_grace_s=0))
    unknown = new_prediction_id(datetime.now(UTC) - timedelta(minutes=5))
    (recorded,) = await afterwards.record_outcomes([outcome(unknown)])
    assert recorded.result is OutcomeResult.UNRECORDED
    await afterwards.close()


async def test_late_predictions_after_an_outage(real_store):
    """The time counts from the end of an outage, during which predictions waited."""
    store = WatchedStore(real_store)
    log = ExperimentLog(
        store, LogLimits(unknown_grace_s=0, late_arrivals_s=60, max_age_s=0, first_retry_s=0.001)
    )
    await asyncio.sleep(0.002)  # ids are exact to the millisecond
    during = new_prediction_id(datetime.now(UTC))
    (recorded,) = await log.record_outcomes([outcome(during)])
    assert recorded.result is OutcomeResult.UNRECORDED
    store.down = True
    log.add_predictions([prediction("a")])
    await until(lambda: log.counters.failed_attempts > 0)
    store.down = False
    await until(lambda: log.waiting == 0)
    with pytest.raises(LatePredictionsError):
        await log.record_outcomes([outcome(during)])
    await log.close()
