"""Long work in slices: other requests proceed in between, one piece of long work at a time."""

import asyncio

import pytest

from serve_app.api.rest.slices import TimeSlices, run_at_once


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def work(clock, steps, log=None, step_s=0.002):
    for _ in range(steps):
        clock.now_s += step_s
        if log is not None:
            log.append("work")
        yield
    return "done"


async def count_turns(turns):
    while True:
        turns.append("turn")
        await asyncio.sleep(0)


async def run_beside(coroutine):
    """Return the turns that another task gets while a coroutine runs."""
    turns = []
    other = asyncio.create_task(count_turns(turns))
    await coroutine
    other.cancel()
    return len(turns)


async def test_short_work_runs_at_once():
    """Work that fits into one slice gives no other task a turn."""
    clock = Clock()
    assert await TimeSlices(0.005, clock).run(work(clock, 2)) == "done"
    assert await run_beside(TimeSlices(0.005, clock).run(work(clock, 2))) == 0


async def test_other_tasks_proceed_between_slices():
    """Another task gets a turn after every slice, which is as long as it may be."""
    clock = Clock()
    assert await run_beside(TimeSlices(0.005, clock).run(work(clock, 30))) == 30 // 3


async def test_one_long_work_proceeds_at_a_time():
    """Of several works that need many slices, one at a time takes a slice per turn."""
    clock, log = Clock(), []
    slices = TimeSlices(0.005, clock)
    async with asyncio.TaskGroup() as group:
        turns = []
        other = asyncio.create_task(count_turns(turns))
        works = [group.create_task(slices.run(work(clock, 30, log))) for _ in range(5)]
    other.cancel()
    assert [task.result() for task in works] == ["done"] * 5
    assert len(turns) >= 5 * 9


async def test_errors_are_passed_on():
    """An error of the work reaches the caller, and later work proceeds."""

    def failing(clock):
        yield from work(clock, 9)
        raise ValueError("broken")

    clock = Clock()
    slices = TimeSlices(0.005, clock)
    with pytest.raises(ValueError, match="broken"):
        await slices.run(failing(clock))
    assert await slices.run(work(clock, 9)) == "done"


def test_work_can_run_at_once():
    """Work can also run without an event loop."""
    assert run_at_once(work(Clock(), 9)) == "done"
