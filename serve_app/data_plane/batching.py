"""Dynamic batching: what waits together goes together. Plain asyncio, no Ray.

Batches grow with the load by themselves: an item that finds a free place goes at once, and what
comes while all places are taken goes with the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from serve_app.settings import BatchSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

CROWD = 8
"""Others under way from which on a request waits for batch-mates."""


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    answer: "asyncio.Future[Result]"


class Batcher(Generic[Item, Result]):
    """Gathers items, which come one by one, into runs.

    Args:
        run: answers items, in their order, at once or later.
        max_batch_size: most items of one run.
        at_once: most runs that are under way together.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result] | Awaitable[Sequence[Result]]],
        max_batch_size: int,
        at_once: int,
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._free = at_once
        self._waiting: list[_Waiting[Item, Result]] = []
        self._due_s = 0.0
        """When what waits may go, in the loop's time; a full batch goes at once."""
        self._timer: asyncio.Handle | None = None
        self._armed_s = 0.0
        """When the timer is to go off."""
        self._runs: set[asyncio.Future[Sequence[Result]]] = set()
        # Of its own: a run belongs to none of its requests, and Serve cancels the calls that were
        # made in the context of one whose client has left.
        self._context = Context()

    async def submit(self, item: Item, wait_s: float = 0.0) -> Result:
        """Return the result for `item`, which for `wait_s` lets others join it even if it could go.

        What a run raises, each of its items raises.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time() + wait_s
        if not self._waiting or due_s < self._due_s:
            self._due_s = due_s
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Waiting(item, answer))
        self._arm(loop)
        return await answer

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that what waits goes when it may."""
        if not self._waiting or not self._free:
            return
        due_s = 0.0 if len(self._waiting) >= self._max_batch_size else self._due_s
        if self._timer is not None:
            if self._armed_s <= due_s:
                return
            self._timer.cancel()
        self._armed_s = due_s
        # At the earliest in the loop's next turn: what it reads in this one comes along.
        soon = due_s <= loop.time()
        self._timer = (
            loop.call_soon(self._go, loop, context=self._context)
            if soon
            else loop.call_at(due_s, self._go, loop, context=self._context)
        )

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not self._free:
            return  # taken since it was armed; whoever frees a place arms it again
        batch = [each for each in self._waiting[: self._max_batch_size] if not each.answer.done()]
        del self._waiting[: self._max_batch_size]
        if batch:
            self._start(batch, loop)
        # What is left is due: it has waited for a place, or is a batch of its own.
        self._due_s = 0.0
        self._arm(loop)

    def _start(
        self, batch: Sequence[_Waiting[Item, Result]], loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            results = self._run([each.item for each in batch])
            if not isinstance(results, Awaitable):
                _answer(batch, results)
                return
        except Exception as error:  # noqa: BLE001  those who wait raise it
            _refuse(batch, error)
            return
        self._free -= 1
        run = asyncio.ensure_future(results, loop=loop)
        self._runs.add(run)
        run.add_done_callback(partial(self._finish, batch))

    def _finish(
        self, batch: Sequence[_Waiting[Item, Result]], run: "asyncio.Future[Sequence[Result]]"
    ) -> None:
        self._runs.discard(run)
        self._free += 1
        self._arm(asyncio.get_running_loop())
        if run.cancelled():
            for each in batch:
                each.answer.cancel()
        elif (error := run.exception()) is not None:
            _refuse(batch, error)
        else:
            _answer(batch, run.result())


def _answer(batch: Sequence[_Waiting[Item, Result]], results: Sequence[Result]) -> None:
    for each, result in zip(batch, results, strict=True):
        if not each.answer.done():
            each.answer.set_result(result)


def _refuse(batch: Sequence[_Waiting[Item, Result]], error: BaseException) -> None:
    for each in batch:
        if not each.answer.done():
            each.answer.set_exception(error)


def wait_for_mates_s(batching: BatchSettings, company: int) -> float:
    """Return how long a request waits for batch-mates.

    Args:
        batching: the version's settings.
        company: how many other requests its router has under way for the version.
    """
    lone_s = batching.batch_wait_timeout_s
    return max(lone_s, batching.busy_wait_timeout_s) if company >= CROWD else lone_s
