"""Requests whose client may disconnect before the response."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect, Request

WATCH_DELAY_S = 0.05
"""The time in flight after which a request's client is watched; quick requests are spared the
cost."""


class ClientWatch:
    """A context that is cancelled when the client of a request disconnects.

    Without it an overloaded server would compute responses for clients that have given up and sent
    the request again. The request's body must have been read. Unsuitable for a request that is sent
    to a replica as a separate call: the replica would continue with it, outside the limits.

    Raises:
        ClientDisconnect: in place of the cancellation.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watching: asyncio.Task[None] | None = None
        self._is_gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(WATCH_DELAY_S, self._start)

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
        is_ours = self._is_gone and self._task.uncancel() <= self._cancelling
        if is_ours and kind is asyncio.CancelledError:
            raise ClientDisconnect from error

    def _start(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()
