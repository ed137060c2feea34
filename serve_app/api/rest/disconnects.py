"""Requests whose client may disconnect before the response, or has no use for a late one."""

import asyncio
import math
from types import TracebackType

from starlette.requests import ClientDisconnect, Request

from serve_app.data_plane.deadlines import NO_DEADLINE, Deadline

WATCH_DELAY_S = 0.05
"""The time in flight after which a request's client is watched; quick requests are spared the
cost."""


class ClientWatch:
    """A context that is cancelled when its client disconnects or its deadline passes.

    Without it an overloaded server would compute responses for clients that have given up and sent
    the request again. The request's body must have been read. Unsuitable for a request that is sent
    to a replica as a separate call: the replica would continue with it, outside the limits.

    Raises:
        ClientDisconnect: in place of the cancellation.
        DeadlinePassedError: in place of the cancellation.
    """

    def __init__(self, request: Request, deadline: Deadline = NO_DEADLINE) -> None:
        self._request = request
        self._deadline = deadline
        self._watching: asyncio.Task[None] | None = None
        self._end: Exception | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        loop = asyncio.get_running_loop()
        start_s = min(loop.time() + WATCH_DELAY_S, self._deadline.due_s)
        self._timer = loop.call_at(start_s, self._start)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        # asyncio.timeout distinguishes its own cancellation from others in the same way.
        is_ours = self._end is not None and self._task.uncancel() <= self._cancelling
        if is_ours and kind is asyncio.CancelledError:
            assert self._end is not None
            raise self._end from error

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._deadline.due_s < math.inf:
            self._timer = loop.call_at(self._deadline.due_s, self._cancel_late)
        self._watching = loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._cancel(ClientDisconnect())

    def _cancel_late(self) -> None:
        self._cancel(self._deadline.error())

    def _cancel(self, end: Exception) -> None:
        if self._end is None:
            self._end = end
            self._task.cancel()
