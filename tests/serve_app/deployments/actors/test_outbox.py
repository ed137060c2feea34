"""A router's outbox of predictions, with a log that fails, hangs and recovers."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from ray.exceptions import ActorUnavailableError

from serve_app.deployments.actors.outbox import Outbox
from tests.serve_app.experiments.factories import prediction


class Log:
    """An experiment log's handle that fails while `error` is set, and hangs while not `running`."""

    def __init__(self):
        self.record_predictions = self
        self.error, self.committed, self.attempts = None, [], 0
        self.running = asyncio.Event()
        self.running.set()

    async def remote(self, records):
        self.attempts += 1
        if self.error is not None:
            raise self.error
        await self.running.wait()
        self.committed.append(len(records))


class Clock:
    """Seconds that pass only when the test says so."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def log():
    return Log()


@asynccontextmanager
async def sending(outbox):
    task = asyncio.create_task(outbox.send_forever())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.001)


def outbox_of(log, record_all=False, **options):
    return Outbox(log, record_all, sleep=lambda _: asyncio.sleep(0), **options)


async def test_predictions_are_sent_in_groups(log):
    outbox = outbox_of(log)
    for number in range(Outbox.GROUP + 1):
        outbox.record(prediction(number))
    async with sending(outbox):
        await until(lambda: log.committed == [Outbox.GROUP, 1])
        outbox.record(prediction())
        await until(lambda: log.committed == [Outbox.GROUP, 1, 1])


async def test_unacknowledged_predictions_are_sent_again(log, caplog):
    outbox = outbox_of(log)
    log.error = ActorUnavailableError("restarting", None)
    outbox.record(prediction())
    async with sending(outbox):
        await until(lambda: log.attempts > 2)
        log.error = None
        await until(lambda: log.committed == [1])
    assert caplog.text.count("1 predictions wait for the log") == 1


async def test_slow_log_holds_back_no_prediction(log):
    """New predictions leave the router while the log commits earlier ones, up to a limit."""
    log.running.clear()
    outbox = outbox_of(log)
    async with sending(outbox):
        for number in range(2 * Outbox.IN_FLIGHT):
            outbox.record(prediction(number))
            await asyncio.sleep(0.002)
        await until(lambda: log.attempts == Outbox.IN_FLIGHT)
        await asyncio.sleep(0.01)
        assert log.attempts == Outbox.IN_FLIGHT
        log.running.set()
        await until(lambda: sum(log.committed) == 2 * Outbox.IN_FLIGHT)


async def test_late_predictions_are_a_problem(log):
    clock = Clock()
    outbox = outbox_of(log, clock=clock)
    assert await outbox.problem() is None
    log.running.clear()
    outbox.record(prediction())
    async with sending(outbox):
        await until(lambda: log.attempts == 1)
        assert await outbox.problem() is None
        clock.now_s += 2 * Outbox.LATE_S
        assert await outbox.problem() == "1 predictions wait for the log"
        log.running.set()
        await until(lambda: log.committed)
        await asyncio.sleep(0.01)
        assert await outbox.problem() is None


@pytest.mark.parametrize(("record_all", "committed"), [(False, [1]), (True, [2])])
async def test_predictions_without_an_experiment_are_optional(log, record_all, committed):
    outbox = outbox_of(log, record_all)
    outbox.record(prediction(experiment_id=None, variant=None, treatment_share=None))
    outbox.record(prediction())
    async with sending(outbox):
        await until(lambda: log.committed == committed)


async def test_predictions_over_the_limit_are_counted(log, caplog, monkeypatch):
    monkeypatch.setattr(Outbox, "LIMIT", 2)
    outbox = outbox_of(log)
    for number in range(5):
        outbox.record(prediction(number))
    assert caplog.text.count("predictions are not recorded: 2 wait for the log") == 1
    assert await outbox.problem() == "3 predictions were not recorded: 2 wait for the log"
    async with sending(outbox):
        await until(lambda: log.committed == [2])
        await until(lambda: "3 predictions were not recorded" in caplog.text)
        assert await outbox.problem() is None
