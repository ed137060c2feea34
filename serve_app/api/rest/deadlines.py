"""Rejects predictions whose callers will not receive them in time, before their bodies are read.

A caller states with X-Deadline-Ms within how many milliseconds it needs the response. The time
counts from the arrival at HAProxy, which notes it in X-Request-Start: a request may wait in a
socket while the event loop is busy. In the other direction X-Pace-Us carries the router's mean time
per response, from which HAProxy estimates how long a request will take; see
`serve_app.launch.haproxy_shedding`.
"""

import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.rest.encoding import error_response
from serve_app.data_plane.deadlines import (
    DEFAULT_MS,
    NO_DEADLINE,
    Deadline,
    Pace,
    current_deadline,
)
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import InvalidRequestError, ServingError

DEADLINE = b"x-deadline-ms"
ARRIVAL = b"x-request-start"
PACE = b"x-pace-us"

PREDICTIONS = frozenset({"/api/ml/predict", "/api/ml/predict/batch"})
"""The paths of the requests with a deadline."""

PARAMETER: Mapping[str, Any] = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "required": False,
    "description": "The time in milliseconds, from the arrival of the request, within which the "
    "caller needs the response. A request that is late is rejected: 503 `overloaded` before that "
    "time, 504 `deadline_exceeded` after it.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "default": DEFAULT_MS},
}
"""The OpenAPI description of the header."""

_NUMBER = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
_MICROSECONDS = re.compile(rb"[0-9]{1,17}")


class DeadlineGuard:
    """Checks the deadlines of predictions before their bodies are read.

    Args:
        app: serves the admitted requests, with `current_deadline` set.
        pace: estimates how long a request will take.
    """

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self._app = app
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or reject it with 422, 503 or 504."""
        if not _has_deadline(scope):
            await self._app(scope, receive, send)
            return
        arrival: bytes | None = None
        try:
            deadline, arrival = read_deadline(scope)
            self._pace.check(deadline)
        except ServingError as error:
            # The connection stays open: the HTTP server discards the body.
            await error_response(error)(scope, receive, send)
            return
        if arrival is not None:
            send = self._with_pace(send)
        token = current_deadline.set(deadline)
        try:
            await self._app(scope, receive, send)
        finally:
            current_deadline.reset(token)

    def _with_pace(self, send: Send) -> Send:
        async def send_with_pace(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (PACE, b"%d" % self._pace.interval_us),
                ]
            await send(message)

        return send_with_pace


def counted(app: ASGIApp, pace: Pace) -> ASGIApp:
    """Return an application whose predictions count as in flight; their bodies have been read."""

    async def counted_app(scope: Scope, receive: Receive, send: Send) -> None:
        if current_deadline.get() is NO_DEADLINE:
            await app(scope, receive, send)
            return
        pace.begin()
        try:
            await app(scope, receive, send)
        finally:
            pace.end()

    return counted_app


def documented(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of an operation with the header added."""
    return {**operation, "parameters": [PARAMETER, *operation.get("parameters", ())]}


def read_deadline(scope: Scope) -> tuple[Deadline, bytes | None]:
    """Return the deadline of a request, and its arrival as noted by HAProxy.

    Raises:
        InvalidRequestError: X-Deadline-Ms is no positive number, or is repeated.
    """
    allowed_ms, arrival = _fields(scope["headers"])
    age_s = 0.0
    # The clocks of two machines may differ.
    if arrival is not None and _is_local(scope) and _MICROSECONDS.fullmatch(arrival):
        age_s = max(0.0, time.time() - int(arrival) / 1e6)
    return Deadline(time.monotonic() + allowed_ms / 1e3 - age_s, allowed_ms), arrival


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> tuple[float, bytes | None]:
    allowed, arrival = None, None
    for name, value in headers:
        if name == DEADLINE:
            if allowed is not None:
                raise InvalidRequestError("X-Deadline-Ms", "one header", "several")
            allowed = value
        elif name == ARRIVAL:
            arrival = value
    if allowed is None:
        return DEFAULT_MS, arrival
    allowed_ms = float(allowed) if _NUMBER.fullmatch(allowed) else math.nan
    if not allowed_ms > 0:
        shown = ascii(allowed.decode("latin-1")[:MAX_SHOWN])
        raise InvalidRequestError("X-Deadline-Ms", "a positive number of milliseconds", shown)
    return allowed_ms, arrival


def _has_deadline(scope: Scope) -> bool:
    # Serve leaves the application's route_prefix in the path.
    return (
        scope["type"] == "http"
        and scope["path"].removeprefix(scope.get("root_path", "")) in PREDICTIONS
    )


def _is_local(scope: Scope) -> bool:
    client, server = scope.get("client"), scope.get("server")
    return client is not None and server is not None and client[0] == server[0]
