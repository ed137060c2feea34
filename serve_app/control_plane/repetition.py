"""Commands that a client may repeat because the response to the first attempt was lost."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

KEPT_RESULTS = 1000
"""The number of results that are kept for repetitions, each of which follows within minutes."""


class Repetition:
    """Executes a command once per key: a repetition waits for the first attempt or its result.

    A command continues if its caller is cancelled. One that has failed is executed again.

    Args:
        kept_results: the number of latest results that are kept.
    """

    def __init__(self, kept_results: int = KEPT_RESULTS) -> None:
        self._in_flight: dict[Hashable, asyncio.Task[Any]] = {}
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._kept_results = kept_results

    async def execute(
        self, key: Hashable | None, command: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Return the result of the command with this key, which starts unless it has already.

        Args:
            key: identifies a command of one caller; None if the caller does not repeat it.
            command: executes it.
        """
        if key in self._results:
            kept: T = self._results[key]
            return kept
        key = object() if key is None else key  # an object of its own equals no other key
        task: asyncio.Task[T] | None = self._in_flight.get(key)
        if task is None:
            task = self._in_flight[key] = asyncio.get_running_loop().create_task(command())
            task.add_done_callback(lambda done: self._settle(key, done))
        return await asyncio.shield(task)

    def _settle(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._in_flight[key]
        if task.cancelled() or task.exception() is not None or type(key) is object:
            return
        self._results[key] = task.result()
        if len(self._results) > self._kept_results:
            self._results.popitem(last=False)
