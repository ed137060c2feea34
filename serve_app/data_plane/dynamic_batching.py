"""Dynamic batching: items that wait at the same time run together. Plain asyncio, no Ray.

Batches grow with the load: an item that finds a free slot runs at once, and items that arrive while
all slots are taken run together in the next batch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from serve_app.data_plane.deadlines import Deadline, current_deadline
from serve_app.settings import BatchSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

BUSY_IN_FLIGHT = 8
"""The number of other requests in flight from which on a router is busy with a version."""


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    result: "asyncio.Future[Result]"
    deadline: Deadline


class Batcher(Generic[Item, Result]):
    """Gathers items, which arrive one by one, into batches.

    Args:
        run: returns the results of a batch in the order of its items, at once or later.
        max_batch_size: the largest number of items in a batch.
        max_in_flight: the largest number of batches that run at the same time.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result] | Awaitable[Sequence[Result]]],
        max_batch_size: int,
        max_in_flight: int,
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._free = max_in_flight
        self._waiting: list[_Waiting[Item, Result]] = []
        self._due_s = 0.0
        """When the waiting items may run, in the loop's time; a full batch runs at once."""
        self._timer: asyncio.Handle | None = None
        self._timer_due_s = 0.0
        self._runs: set[asyncio.Future[Sequence[Result]]] = set()
        # A batch belongs to none of its requests: Serve cancels the calls made in the context of a
        # request whose client has left.
        self._context = Context()

    async def submit(self, item: Item, wait_s: float = 0.0) -> Result:
        """Return the result for `item`, and raise what its batch raises.

        For `wait_s` the item waits for others to join its batch, even if a slot is free.

        Raises:
            DeadlinePassedError: the deadline of the request passed before the item could run.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time() + wait_s
        if not self._waiting or due_s < self._due_s:
            self._due_s = due_s
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Waiting(item, result, current_deadline.get()))
        self._schedule(loop)
        return await result

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer to the moment at which the waiting items may run."""
        if not self._waiting or not self._free:
            return
        due_s = 0.0 if len(self._waiting) >= self._max_batch_size else self._due_s
        if self._timer is not None:
            if self._timer_due_s <= due_s:
                return
            self._timer.cancel()
        self._timer_due_s = due_s
        # Not before the loop's next iteration: the batch includes what this iteration receives.
        is_due = due_s <= loop.time()
        self._timer = (
            loop.call_soon(self._run_next, loop, context=self._context)
            if is_due
            else loop.call_at(due_s, self._run_next, loop, context=self._context)
        )

    def _run_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not self._free:
            return  # the end of a run schedules the next
        now_s, batch = loop.time(), []
        for waiting in self._waiting[: self._max_batch_size]:
            if waiting.result.done():
                continue  # its request has been cancelled
            if waiting.deadline.due_s <= now_s:
                waiting.result.set_exception(waiting.deadline.error())
            else:
                batch.append(waiting)
        del self._waiting[: self._max_batch_size]
        if batch:
            self._start(batch, loop)
        # The rest is due: it has waited for a slot, or exceeds a batch.
        self._due_s = 0.0
        self._schedule(loop)

    def _start(
        self, batch: Sequence[_Waiting[Item, Result]], loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            results = self._run([waiting.item for waiting in batch])
            if not isinstance(results, Awaitable):
                _set_results(batch, results)
                return
        except Exception as error:  # noqa: BLE001  the waiting requests raise it
            _set_error(batch, error)
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
        self._schedule(asyncio.get_running_loop())
        if run.cancelled():
            for waiting in batch:
                waiting.result.cancel()
        elif (error := run.exception()) is not None:
            _set_error(batch, error)
        else:
            _set_results(batch, run.result())


def _set_results(batch: Sequence[_Waiting[Item, Result]], results: Sequence[Result]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if not waiting.result.done():
            waiting.result.set_result(result)


def _set_error(batch: Sequence[_Waiting[Item, Result]], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(error)


def batch_wait_s(batching: BatchSettings, others_in_flight: int) -> float:
    """Return how long a request waits for others to join its batch.

    Args:
        batching: the version's settings.
        others_in_flight: the number of other requests that its router has in flight for the
            version.
    """
    wait_s = batching.batch_wait_timeout_s
    if others_in_flight < BUSY_IN_FLIGHT:
        return wait_s
    return max(wait_s, batching.busy_wait_timeout_s)
