"""Work for a client that may leave before it is answered."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect, Request

PATIENCE_S = 0.05
"""How long a request is in work before its client is watched; quick ones need not pay for it."""


class ClientWatch:
    """A context that is cancelled when the client of a request leaves.

    An overloaded server would else work for clients that gave up and have asked again. The
    request's body must have been read. Not for what goes to a replica in a call of its own: the
    replica would go on with it, uncounted.

    Raises:
        ClientDisconnect: instead of the cancellation.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watching: asyncio.Task[None] | None = None
        self._has_left = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        # As asyncio.timeout tells its own cancellation from others'.
        is_ours = self._has_left and self._task.uncancel() <= self._cancelling
        if is_ours and kind is asyncio.CancelledError:
            raise ClientDisconnect from error

    def _begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        self._task.cancel()
