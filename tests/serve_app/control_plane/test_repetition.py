"""Commands that are repeated because a response was lost."""

import asyncio

import pytest

from serve_app.control_plane.repetition import Repetition


class Command:
    """Counts its executions, and ends when it is released."""

    def __init__(self):
        self.executions = 0
        self.released = asyncio.Event()
        self.error = None

    async def __call__(self):
        self.executions += 1
        await self.released.wait()
        if self.error:
            raise self.error
        return self.executions


@pytest.fixture
async def command():
    return Command()


async def test_repetition_joins_the_attempt_in_flight(command):
    """Also after the caller of the first attempt has gone."""
    repetition = Repetition()
    first, second = [asyncio.create_task(repetition.execute("a", command)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    command.released.set()
    assert (await second, command.executions) == (1, 1)


async def test_repetition_receives_the_result(command):
    repetition = Repetition()
    command.released.set()
    assert [await repetition.execute(key, command) for key in ("a", "b", "a")] == [1, 2, 1]


async def test_failed_command_is_executed_again(command):
    """A 503 is repeated because the next attempt may succeed."""
    repetition, command.error = Repetition(), OSError("away")
    command.released.set()
    with pytest.raises(OSError, match="away"):
        await repetition.execute("a", command)
    command.error = None
    assert await repetition.execute("a", command) == 2


async def test_commands_without_a_key_are_independent(command):
    repetition = Repetition()
    command.released.set()
    assert [await repetition.execute(None, command) for _ in range(2)] == [1, 2]


async def test_only_the_latest_results_are_kept(command):
    repetition = Repetition(kept_results=2)
    command.released.set()
    assert [await repetition.execute(key, command) for key in "abca"] == [1, 2, 3, 4]
    assert await repetition.execute("c", command) == 3
