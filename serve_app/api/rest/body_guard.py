"""Reads the bodies of requests within limits on their type, size, time and memory.

A body is read before its request takes one of the router's places, so that slow clients occupy
none.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.rest.bodies import announced_bytes, receive_body
from serve_app.api.rest.hosts import CLIENT_CLOSED_REQUEST, reject
from serve_app.api.rest.schemas import ARROW, NPY, RAW
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import (
    BodyMemoryError,
    BodyTimeoutError,
    ContentEncodingError,
    ServingError,
    UnsupportedMediaTypeError,
)
from serve_app.timeouts import BODY_S

PREDICT = "/api/ml/predict"
BATCH = "/api/ml/predict/batch"
SERIES = "/api/ml/predict/series"
OUTCOMES = "/api/ml/outcomes"
BARS = "/api/ml/bars"

MIN_PREDICT_BYTES = 1_000_000
"""The smallest limit of a body for one prediction."""

BYTES_PER_WINDOW = 20
"""The limit of a body for one prediction, as a multiple of the window's size as float32: JSON uses
about 20 characters per number, and indented JSON up to three times as many."""

OUTCOMES_BYTES = 1_000_000
"""The limit of a body with outcomes: 10,000 of them use about 700 KB."""

COMMAND_BYTES = 64 * 1024
"""The limit of every other body."""

IDENTITY = "identity"
JSON = "application/json"
TYPES: Mapping[str, tuple[str, ...]] = {PREDICT: (JSON, RAW, NPY), BARS: (JSON, ARROW)}
"""The content types that an endpoint accepts, by path; others accept JSON only."""

BODY_ARRIVED = "tradeserve.body_arrived"
"""The key of a scope whose whole body the HTTP server has received; absent while it has not."""

BODY_READ_S = "tradeserve.body_read_s"
"""The key of a scope with the time that its body took to arrive, in seconds."""

_QUERIES = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """The largest body of each endpoint, in bytes."""

    largest: int
    """The limit of a batch, a series and bars; no other limit is above it."""
    largest_window: Callable[[], int]
    """Returns the size of the largest window of a served version, as float32."""

    def of(self, path: str) -> int:
        """Return the limit of an endpoint."""
        if path == PREDICT:
            wanted = max(MIN_PREDICT_BYTES, BYTES_PER_WINDOW * self.largest_window())
        elif path in (BATCH, SERIES, BARS):
            wanted = self.largest
        else:
            wanted = OUTCOMES_BYTES if path == OUTCOMES else COMMAND_BYTES
        return min(wanted, self.largest)


class BodyMemory:
    """The bytes of all bodies that are held at once.

    Args:
        limit: the largest number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @property
    def held(self) -> int:
        """The number of bytes that are held now."""
        return self._held

    def add(self, size: int) -> None:
        """Count bytes that will be held.

        Raises:
            BodyMemoryError: the limit would be exceeded; they are not counted.
        """
        if self._held + size > self._limit:
            raise BodyMemoryError(self._limit)
        self._held += size

    def release(self, size: int) -> None:
        """Count bytes that are no longer held."""
        self._held -= size

    def lease(self) -> "Lease":
        """Return a context for the bytes of one body, which it releases."""
        return Lease(self)


class Lease:
    """The bytes of one body; see `BodyMemory.lease`."""

    __slots__ = ("_memory", "size")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.size = 0

    def add(self, size: int) -> None:
        """Count bytes of the body that will be held; see `BodyMemory.add` for the error."""
        self._memory.add(size)
        self.size += size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.release(self.size)


class BodyGuard:
    """Reads the body of each request, then passes the request to an application.

    Args:
        app: serves requests; it receives each body in one message.
        limits: the largest body of each endpoint.
        memory: holds the bodies, shared by everything that this router serves.
        timeout_s: the time within which a body must arrive.
    """

    def __init__(
        self, app: ASGIApp, limits: BodyLimits, memory: BodyMemory, timeout_s: float = BODY_S
    ) -> None:
        self._app = app
        self._limits = limits
        self._memory = memory
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or reject it with 408, 413, 415 or 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._memory.lease() as lease:
            try:
                body = await self._read(scope, receive, lease)
            except ServingError as error:
                await reject(error, scope, receive, send)
                return
            except ClientDisconnect:
                # For the metrics; the client has left.
                await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
                return
            messages: list[Message] = [{"type": "http.request", "body": body}]

            async def receive_body() -> Message:
                return messages.pop() if messages else await receive()

            await self._app(scope, receive_body, send)

    async def _read(self, scope: Scope, receive: Receive, lease: Lease) -> bytes:
        fields = _body_fields(scope)
        # Serve leaves the application's route_prefix in the path.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        check_type(scope["method"], path, fields)
        if not fields.has_body:
            return b""
        if fields.encoding != IDENTITY:
            raise ContentEncodingError(ascii(fields.encoding[:MAX_SHOWN]))
        limit_bytes = self._limits.of(path)
        if BODY_ARRIVED in scope:
            return await receive_body(receive, limit_bytes, fields.length, lease.add)
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await receive_body(receive, limit_bytes, fields.length, lease.add)
        except TimeoutError:
            raise BodyTimeoutError(self._timeout_s, lease.size) from None
        scope[BODY_READ_S] = time.perf_counter() - began_s
        return body


class BodyFields(NamedTuple):
    """What the headers of a request announce about its body; a tuple, created per request."""

    has_body: bool
    types: tuple[bytes, ...]
    """The values of all Content-Type headers."""
    length: int | None
    encoding: str = IDENTITY
    """The value of Content-Encoding, in small letters."""


def check_type(method: str, path: str, fields: BodyFields) -> None:
    """Check the content type of a request.

    A page of another server can send forms, text and bodies without a type to any address, but JSON
    only if the server permits it. A command without a body needs no type: its Origin reveals the
    page.

    Raises:
        UnsupportedMediaTypeError: the endpoint does not accept the type, or it is missing.
    """
    if method in _QUERIES or not (fields.has_body or fields.types):
        return
    # A page can send neither of these two without permission.
    accepted = TYPES.get(path, (JSON,)) if fields.has_body else (JSON, RAW)
    kinds = [kind.partition(b";")[0].strip().lower().decode("latin-1") for kind in fields.types]
    if len(kinds) != 1 or kinds[0] not in accepted:
        received = ", ".join(ascii(kind[:MAX_SHOWN]) for kind in kinds[:2]) or "no such header"
        raise UnsupportedMediaTypeError(" or ".join(accepted), received)


def _body_fields(scope: Scope) -> BodyFields:
    has_body, types, length, encoding = False, [], None, IDENTITY
    for name, value in scope["headers"]:
        if name == b"content-length":
            has_body = has_body or value != b"0"
            length = announced_bytes(value.decode("latin-1"))
        elif name == b"transfer-encoding":
            has_body = True
        elif name == b"content-type":
            types.append(value)
        elif name == b"content-encoding":
            encoding = value.decode("latin-1").strip().lower()
    return BodyFields(has_body, tuple(types), length, encoding)
