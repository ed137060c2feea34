"""Limits on the connections of a router's own HTTP server, which can be reached without HAProxy.

Serve starts uvicorn, which waits for the headers of a request forever and accepts any number of
them, and Serve passes none of its settings on. Uvicorn looks up the class of its connections by
name when it starts, in a table of its configuration: `limit_connections` enters a class there.
"""

import asyncio
from typing import Any

from uvicorn import config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve_app.api.rest.body_guard import BODY_ARRIVED

HEADERS_TIMEOUT_S = 5.0
"""The time allowed for the headers of a request, and before the first byte of a connection."""

MAX_HEADERS_BYTES = 256 * 1024
"""The largest size of the headers of a request, as large as HAProxy's buffer."""

MAX_WAITING = 512
"""Connections of one address that may wait for headers; the oldest is closed for another one."""


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are late or too large.

    HAProxy's own connections send requests at once, so that they do not count as waiting.
    """

    waiting: dict[str, dict["LimitedProtocol", None]] = {}  # noqa: RUF012  of the process
    """The connections that wait for headers by address, the oldest first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._headers_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first headers."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Parse data, and close the connection if its headers are too large."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            return
        # Not before: most headers arrive as a whole.
        if self._timer is None:
            self._wait_for_headers()
        self._headers_bytes += len(data)
        if self._headers_bytes > MAX_HEADERS_BYTES:
            self._end()

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the body of the newest request is here."""
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.scope[BODY_ARRIVED] = True  # type: ignore[literal-required]  # ours

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        self._headers_bytes = 0
        self._timer = self.loop.call_later(HEADERS_TIMEOUT_S, self._end)
        waiting = self.waiting.setdefault(self._address, {})
        waiting[self] = None
        if len(waiting) > MAX_WAITING:
            next(iter(waiting))._end()

    def _stop_waiting(self) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        waiting = self.waiting[self._address]
        waiting.pop(self, None)
        if not waiting:
            del self.waiting[self._address]

    def _end(self) -> None:
        self._stop_waiting()
        self.transport.abort()

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""


def limit_connections() -> None:
    """Apply the limits to the HTTP server that this process starts next."""
    name = f"{LimitedProtocol.__module__}:{LimitedProtocol.__qualname__}"
    config.HTTP_PROTOCOLS["auto"] = name
