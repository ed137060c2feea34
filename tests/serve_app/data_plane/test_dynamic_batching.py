"""Dynamic batching without a cluster."""

import asyncio
from contextvars import ContextVar

import pytest

from serve_app.data_plane.deadlines import Deadline, current_deadline
from serve_app.data_plane.dynamic_batching import BUSY_IN_FLIGHT, Batcher, batch_wait_s
from serve_app.errors import DeadlinePassedError
from serve_app.settings import BatchSettings


class Runs:
    """Doubles its items when the test allows it; keeps each batch."""

    def __init__(self):
        self.batches, self.may_finish = [], asyncio.Event()
        self.may_finish.set()

    async def __call__(self, items):
        self.batches.append(list(items))
        await self.may_finish.wait()
        if "bad" in items:
            raise ValueError("a bad batch")
        return [2 * item for item in items]


@pytest.fixture
def runs():
    return Runs()


def submit(batcher, *items, wait_s=0.0):
    return [asyncio.create_task(batcher.submit(item, wait_s)) for item in items]


async def test_lone_item_runs_at_once(runs):
    """An item that finds a free slot runs at once."""
    assert await Batcher(runs, 8, max_in_flight=1).submit(1) == 2
    assert runs.batches == [[1]]


async def test_simultaneous_items_share_a_batch(runs):
    """Items that wait at the same time run together, and each has its own result."""
    assert await asyncio.gather(*submit(Batcher(runs, 8, max_in_flight=1), 1, 2, 3)) == [2, 4, 6]
    assert runs.batches == [[1, 2, 3]]


async def test_run_may_return_results_directly():
    """A run may return its results without awaiting."""

    def run(items):
        batches.append(list(items))
        return [2 * item for item in items]

    batches = []
    batcher = Batcher(run, 2, max_in_flight=1)
    assert await asyncio.gather(*submit(batcher, 1, 2, 3)) == [2, 4, 6]
    assert batches == [[1, 2], [3]]


async def test_error_raised_directly_fails_its_batch_only():
    """An error that a run raises without awaiting fails its own items, not the next batch."""

    def run(items):
        if "bad" in items:
            raise ValueError("a bad batch")
        return items

    batcher = Batcher(run, 2, max_in_flight=1)
    results = await asyncio.gather(*submit(batcher, "bad", "good", "late"), return_exceptions=True)
    assert [str(error) for error in results] == ["a bad batch", "a bad batch", "late"]


async def test_items_gather_while_all_slots_are_taken(runs):
    """Items that arrive while all slots are taken run together in the next batches."""
    batcher = Batcher(runs, 3, max_in_flight=2)
    runs.may_finish.clear()
    submitted = []
    for item in range(7):
        submitted += submit(batcher, item)
        await asyncio.sleep(0.001)
    assert runs.batches == [[0], [1]]
    runs.may_finish.set()
    assert await asyncio.gather(*submitted) == [0, 2, 4, 6, 8, 10, 12]
    assert runs.batches == [[0], [1], [2, 3, 4], [5, 6]]


async def test_waiting_item_lets_others_join(runs):
    """A waiting item runs when its time is over, its batch is full, or an impatient item joins."""
    batcher = Batcher(runs, 3, max_in_flight=1)
    first = submit(batcher, 1, wait_s=60)
    await asyncio.sleep(0.001)
    assert runs.batches == []
    assert await asyncio.gather(*first, *submit(batcher, 2, 3, wait_s=60)) == [2, 4, 6]
    assert await asyncio.gather(*submit(batcher, 4, wait_s=60), *submit(batcher, 5)) == [8, 10]
    assert await batcher.submit(6, wait_s=0.001) == 12
    assert runs.batches == [[1, 2, 3], [4, 5], [6]]


async def test_cancelled_items_are_left_out(runs):
    """Items that were cancelled are left out of batches; the others have their results."""
    batcher = Batcher(runs, 8, max_in_flight=1)
    runs.may_finish.clear()
    running, gone, stays = submit(batcher, 1), submit(batcher, 2), submit(batcher, 3)
    await asyncio.sleep(0.001)
    gone_later = submit(batcher, 4)
    await asyncio.sleep(0.001)
    gone[0].cancel()
    gone_later[0].cancel()
    await asyncio.sleep(0.001)
    runs.may_finish.set()
    assert await asyncio.gather(*running, *stays) == [2, 6]
    assert await batcher.submit(5) == 10
    assert runs.batches == [[1, 2, 3], [5]]


async def test_late_items_do_not_run(runs):
    """An item whose deadline passes while it waits raises the error; others of its batch run."""

    async def submit_within(allowed_s, item):
        current_deadline.set(Deadline(asyncio.get_running_loop().time() + allowed_s, 1e3))
        return await batcher.submit(item)

    batcher = Batcher(runs, 8, max_in_flight=1)
    runs.may_finish.clear()
    running = submit(batcher, 1)
    await asyncio.sleep(0.001)
    late = asyncio.create_task(submit_within(0.01, 2))
    in_time = asyncio.create_task(submit_within(60, 3))
    await asyncio.sleep(0.02)
    runs.may_finish.set()
    assert await asyncio.gather(*running, in_time) == [2, 6]
    with pytest.raises(DeadlinePassedError, match="within the deadline of 1000 ms"):
        await late
    assert runs.batches == [[1], [3]]


async def test_failed_run_fails_its_batch_only(runs):
    """A run that fails fails its own items, not the next batch."""
    batcher = Batcher(runs, 2, max_in_flight=1)
    results = await asyncio.gather(*submit(batcher, 1, "bad", 3), return_exceptions=True)
    assert [str(results[0]), str(results[1]), results[2]] == ["a bad batch", "a bad batch", 6]


async def test_cancelled_run_cancels_its_batch_only(runs):
    """A run that is cancelled cancels its own items, not the next batch."""

    async def run(items):
        if items == ["left"]:
            raise asyncio.CancelledError
        return await runs(items)

    batcher = Batcher(run, 1, max_in_flight=1)
    left, stays = submit(batcher, "left", 1)
    assert await stays == 2
    assert left.cancelled()


async def test_run_has_its_own_context():
    """A batch runs in no request's context: Serve cancels the calls made in that of a request
    whose client has left."""
    owner = ContextVar("owner", default="none")

    async def run(items):
        await asyncio.sleep(0)
        return [owner.get()] * len(items)

    batcher = Batcher(run, 1, max_in_flight=1)
    owner.set("the first request")
    assert (
        await asyncio.gather(*submit(batcher, 1, 2), *submit(batcher, 3, wait_s=0.001))
        == ["none"] * 3
    )


def test_only_busy_routers_wait_longer():
    """A request waits longer for its batch only while its router is busy with the version."""
    batching = BatchSettings(batch_wait_timeout_s=0.001, busy_wait_timeout_s=0.005)
    assert [
        batch_wait_s(batching, others) for others in (0, BUSY_IN_FLIGHT - 1, BUSY_IN_FLIGHT)
    ] == [
        0.001,
        0.001,
        0.005,
    ]
    never = BatchSettings(batch_wait_timeout_s=0.002, busy_wait_timeout_s=0.0)
    assert batch_wait_s(never, BUSY_IN_FLIGHT) == 0.002
