"""What waits together goes together, without a cluster."""

import asyncio
from contextvars import ContextVar

import pytest

from serve_app.data_plane.batching import CROWD, Batcher, wait_for_mates_s
from serve_app.settings import BatchSettings


class Runs:
    """Doubles what it is given, once it may; notes each run."""

    def __init__(self):
        self.batches, self.may = [], asyncio.Event()
        self.may.set()

    async def __call__(self, items):
        self.batches.append(list(items))
        await self.may.wait()
        if "bad" in items:
            raise ValueError("a bad batch")
        return [2 * item for item in items]


@pytest.fixture
def runs():
    return Runs()


def submit(batcher, *items, wait_s=0.0):
    return [asyncio.create_task(batcher.submit(item, wait_s)) for item in items]


async def test_a_lone_item_waits_for_nobody(runs):
    assert await Batcher(runs, 8, at_once=1).submit(1) == 2
    assert runs.batches == [[1]]


async def test_what_is_there_together_goes_together_and_everybody_gets_his_own(runs):
    assert await asyncio.gather(*submit(Batcher(runs, 8, at_once=1), 1, 2, 3)) == [2, 4, 6]
    assert runs.batches == [[1, 2, 3]]


async def test_a_run_may_answer_at_once():
    def run(items):
        batches.append(list(items))
        return [2 * item for item in items]

    batches = []
    batcher = Batcher(run, 2, at_once=1)
    assert await asyncio.gather(*submit(batcher, 1, 2, 3)) == [2, 4, 6]
    assert batches == [[1, 2], [3]]


async def test_what_a_run_raises_at_once_each_of_its_items_raises_and_the_next_run_goes_on():
    def run(items):
        if "bad" in items:
            raise ValueError("a bad batch")
        return items

    batcher = Batcher(run, 2, at_once=1)
    answers = await asyncio.gather(*submit(batcher, "bad", "good", "late"), return_exceptions=True)
    assert [str(each) for each in answers] == ["a bad batch", "a bad batch", "late"]


async def test_what_comes_while_all_places_are_taken_goes_with_the_next(runs):
    batcher = Batcher(runs, 3, at_once=2)
    runs.may.clear()
    asked = []
    for item in range(7):
        asked += submit(batcher, item)
        await asyncio.sleep(0.001)
    assert runs.batches == [[0], [1]]
    runs.may.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8, 10, 12]
    assert runs.batches == [[0], [1], [2, 3, 4], [5, 6]]


async def test_a_patient_item_goes_with_those_that_join_it_or_as_soon_as_the_batch_is_full(runs):
    batcher = Batcher(runs, 3, at_once=1)
    first = submit(batcher, 1, wait_s=60)
    await asyncio.sleep(0.001)
    assert runs.batches == []
    assert await asyncio.gather(*first, *submit(batcher, 2, 3, wait_s=60)) == [2, 4, 6]
    assert await asyncio.gather(*submit(batcher, 4, wait_s=60), *submit(batcher, 5)) == [8, 10]
    assert await batcher.submit(6, wait_s=0.001) == 12
    assert runs.batches == [[1, 2, 3], [4, 5], [6]]


async def test_who_has_given_up_is_left_out_and_the_others_are_answered(runs):
    batcher = Batcher(runs, 8, at_once=1)
    runs.may.clear()
    running, gone, stays = submit(batcher, 1), submit(batcher, 2), submit(batcher, 3)
    await asyncio.sleep(0.001)
    gone_later = submit(batcher, 4)
    await asyncio.sleep(0.001)
    gone[0].cancel()
    gone_later[0].cancel()
    await asyncio.sleep(0.001)
    runs.may.set()
    assert await asyncio.gather(*running, *stays) == [2, 6]
    assert await batcher.submit(5) == 10
    assert runs.batches == [[1, 2, 3], [5]]


async def test_a_run_that_fails_fails_for_its_own_items_and_the_next_goes_on(runs):
    batcher = Batcher(runs, 2, at_once=1)
    answers = await asyncio.gather(*submit(batcher, 1, "bad", 3), return_exceptions=True)
    assert [str(answers[0]), str(answers[1]), answers[2]] == ["a bad batch", "a bad batch", 6]


async def test_a_run_that_is_cancelled_is_so_for_its_own_items_and_the_next_goes_on(runs):
    async def run(items):
        if items == ["left"]:
            raise asyncio.CancelledError
        return await runs(items)

    batcher = Batcher(run, 1, at_once=1)
    left, stays = submit(batcher, "left", 1)
    assert await stays == 2
    assert left.cancelled()


async def test_a_run_belongs_to_none_of_its_requests():
    """Serve cancels the calls made in the context of a request whose client has left."""
    whose = ContextVar("whose", default="nobody's")

    async def run(items):
        await asyncio.sleep(0)
        return [whose.get()] * len(items)

    batcher = Batcher(run, 1, at_once=1)
    whose.set("the first's")
    assert (
        await asyncio.gather(*submit(batcher, 1, 2), *submit(batcher, 3, wait_s=0.001))
        == ["nobody's"] * 3
    )


def test_only_a_crowd_waits_longer():
    batching = BatchSettings(batch_wait_timeout_s=0.001, busy_wait_timeout_s=0.005)
    assert [wait_for_mates_s(batching, each) for each in (0, CROWD - 1, CROWD)] == [
        0.001,
        0.001,
        0.005,
    ]
    never = BatchSettings(batch_wait_timeout_s=0.002, busy_wait_timeout_s=0.0)
    assert wait_for_mates_s(never, CROWD) == 0.002
