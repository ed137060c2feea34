"""Runs long work of a request on the event loop in slices, between which other requests proceed."""

import asyncio
import time
from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")

Steps = Generator[None, None, Result]
"""Work that yields after every few milliseconds at most, and returns its result."""

SLICE_S = 0.005
"""The time after which work makes room for other requests."""


class TimeSlices:
    """Runs work in slices; of all work that needs several, one at a time.

    Otherwise every large request in flight would take a slice in each iteration of the event loop,
    and a small request would wait for all of them. Threads would not help: the parsers hold the
    interpreter's lock.

    Args:
        slice_s: the time after which work makes room.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, slice_s: float = SLICE_S, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._slice_s = slice_s
        self._clock = clock
        self._turn = asyncio.Lock()

    async def run(self, steps: Steps[Result]) -> Result:
        """Return the result of the work, or raise its error."""
        stop = self._run_slice(steps)
        if stop is None:
            async with self._turn:
                while stop is None:
                    await asyncio.sleep(0)
                    stop = self._run_slice(steps)
        result: Result = stop.value
        return result

    def _run_slice(self, steps: Steps[Result]) -> StopIteration | None:
        end_s = self._clock() + self._slice_s
        try:
            next(steps)
            while self._clock() < end_s:
                next(steps)
        except StopIteration as stop:
            return stop
        return None


def run_at_once(steps: Steps[Result]) -> Result:
    """Return the result of work that is known to be short, or raise its error."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        result: Result = stop.value
        return result
