"""What is sent to the log is written in groups, off the request path, and never silently lost."""

import asyncio
import logging

import pytest

from serve_app.experiments.store import ExperimentStore, OutcomeResult
from serve_app.experiments.store.log import ExperimentLog, LogLimits
from serve_app.experiments.store_errors import (
    BufferFullError,
    LogClosedError,
    RefusedRowError,
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
    """A store whose calls are seen, and which fails when told to."""

    def __init__(self, store):
        self._store = store
        self.groups = []
        self.batches = []
        self.down = False
        self.poison = None

    def write_predictions(self, records):
        self._fail()
        if self.poison in {each.prediction_id for each in records}:
            raise RefusedRowError("url", "no such value")
        self.groups.append(len(records))
        return self._store.write_predictions(records)

    def record_outcomes(self, outcomes):
        self._fail()
        if any(each.prediction_id == self.poison for each in outcomes):
            raise RefusedRowError("url", "no such value")
        self.batches.append(len(outcomes))
        return self._store.record_outcomes(outcomes)

    def _fail(self):
        if self.down:
            raise UnavailableStoreError("url", "connection refused")


class Sleeps:
    """Time that passes when the test says so."""

    def __init__(self):
        self.now = 0.0
        self.asked = []
        self._waiting = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.asked.append(round(seconds, 6))
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
    """Let the writer begin whatever it would begin."""
    for _ in range(10):
        await asyncio.sleep(0.001)


async def until(condition):
    """Wait for what must come, however slow the machine is."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - no event tells of it
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


async def test_a_prediction_is_written_once_it_is_100_ms_old(log, store, sleeps):
    log.add_predictions(predictions(1))
    await settle()
    await sleeps.pass_time(0.06)
    log.add_predictions(predictions(2, start=1))
    await sleeps.pass_time(0.03)
    assert store.groups == []
    await sleeps.pass_time(0.01)
    await until(lambda: log.waiting == 0)
    assert store.groups == [3]
    assert sleeps.asked == [0.1]


async def test_a_full_group_is_written_at_once(log, store):
    log.add_predictions(predictions(25))
    await until(lambda: log.waiting == 0)
    assert store.groups == [10, 10, 5]


async def test_a_sender_that_waits_is_answered_when_its_predictions_are_committed(
    log, real_store, sleeps
):
    sender = asyncio.create_task(log.record_predictions(predictions(3)))
    await settle()
    assert not sender.done()
    assert list(real_store.predictions()) == []
    await sleeps.pass_time(0.1)
    await sender
    assert len(list(real_store.predictions())) == 3


async def test_an_outcome_is_stored_though_its_prediction_still_waits(log):
    log.add_predictions(predictions(1))
    (recorded,) = await log.record_outcomes([outcome("p0")])
    assert recorded.result is OutcomeResult.ACCEPTED


async def test_flush_writes_what_waits(log, real_store):
    log.add_predictions(predictions(3))
    await log.flush()
    assert total(real_store, "control", "predictions") == 3


async def test_outcomes_that_come_together_share_a_commit_and_get_answers_of_their_own(log, store):
    log.add_predictions(predictions(4))
    answers = await asyncio.gather(
        log.record_outcomes([outcome("p0"), outcome("p1")]),
        log.record_outcomes([outcome("p1", 0.5)]),
        log.record_outcomes([outcome("p2"), outcome("p0")]),
    )
    names = [[each.result.value for each in answer] for answer in answers]
    assert names == [["accepted", "accepted"], ["conflict"], ["accepted", "duplicate"]]
    assert store.batches == [5]
    assert log.counters.outcomes[OutcomeResult.ACCEPTED] == 3


async def test_an_outcome_that_overtook_its_prediction_is_accepted(log, sleeps):
    """The prediction is still on its way from a router."""
    asked = asyncio.create_task(log.record_outcomes([outcome("p0"), outcome("nobody")]))
    await until(lambda: sleeps.asked)
    assert sleeps.asked[-1] == 0.3
    assert not asked.done()
    log.add_predictions(predictions(1))
    await sleeps.pass_time(0.3)
    results = [each.result.value for each in await asked]
    assert results == ["accepted", "unknown"]


async def test_while_the_database_is_down_predictions_wait_and_outcomes_fail(
    log, store, real_store, sleeps, caplog
):
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
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    store.down = False
    await settle()
    await sleeps.pass_time(10)
    await sender
    (recorded,) = await log.record_outcomes([outcome("p0")])
    assert recorded.result is OutcomeResult.ACCEPTED
    assert_summaries_equal_rows(real_store)


async def test_attempts_get_rarer_while_the_database_is_down(log, store, sleeps):
    store.down = True
    log.add_predictions(predictions(1))
    for asked in range(1, 10):
        await until(lambda asked=asked: len(sleeps.asked) == asked)
        await sleeps.pass_time(100)
    assert sleeps.asked[:9] == [0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_what_does_not_fit_is_refused_whole_counted_and_logged_once(log, store, caplog):
    store.down = True
    log.add_predictions(predictions(28))
    for _ in range(2):
        with pytest.raises(BufferFullError, match="not recorded: 28 are waiting"):
            log.add_predictions(predictions(3, start=28))
    log.add_predictions(predictions(2, start=28))
    assert log.counters.overflowed == 6
    refusals = [each for each in caplog.records if "were not recorded" in each.getMessage()]
    assert len(refusals) == 1
    assert log.waiting == 30


async def test_more_outcomes_than_may_wait_are_refused(log, store):
    first = asyncio.create_task(log.record_outcomes([outcome(f"p{n}") for n in range(30)]))
    await asyncio.sleep(0)
    with pytest.raises(BufferFullError, match="1 outcomes were not recorded"):
        await log.record_outcomes([outcome("p0")])
    first.cancel()


async def test_a_prediction_that_cannot_be_stored_holds_up_no_other(log, store, real_store, caplog):
    store.poison = "p1"
    log.add_predictions(predictions(10))
    await until(lambda: log.waiting == 0)
    assert (log.counters.written, log.counters.refused) == (9, 1)
    assert "'p1' cannot be stored" in caplog.text
    assert total(real_store, "control", "predictions") == 9


async def test_outcomes_that_cannot_be_stored_fail_their_own_sender_alone(log, store):
    store.poison = "bad"
    log.add_predictions(predictions(2))
    first, bad, second = await asyncio.gather(
        log.record_outcomes([outcome("p0")]),
        log.record_outcomes([outcome("bad")]),
        log.record_outcomes([outcome("p1")]),
        return_exceptions=True,
    )
    assert isinstance(bad, RefusedRowError)
    assert [each.result.value for each in (*first, *second)] == ["accepted", "accepted"]


async def test_a_caller_that_gave_up_harms_nobody(log, store):
    log.add_predictions(predictions(2))
    gone = asyncio.create_task(log.record_outcomes([outcome("p0")]))
    await asyncio.sleep(0)
    gone.cancel()
    (recorded,) = await log.record_outcomes([outcome("p1")])
    assert recorded.result is OutcomeResult.ACCEPTED
    (again,) = await log.record_outcomes([outcome("p0")])
    assert again.result in {OutcomeResult.ACCEPTED, OutcomeResult.DUPLICATE}


async def test_closing_writes_what_waits_and_takes_nothing_more(log, real_store):
    log.add_predictions(predictions(25))
    await log.close()
    assert total(real_store, "control", "predictions") == 25
    for call in (log.record_outcomes([outcome("p0")]), log.flush()):
        with pytest.raises(LogClosedError):
            await call
    with pytest.raises(LogClosedError):
        log.add_predictions(predictions(1))


async def test_what_cannot_be_written_at_closing_is_counted_logged_and_raised(store, caplog):
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
    assert "7 predictions lost at closing" in caplog.text
