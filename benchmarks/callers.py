"""Cheap callers for overload: prepared requests on raw connections, without an HTTP library.

A request costs the callers' process about 40 µs. The callers share the machine with the server, so
that their processor time is part of every figure.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Responses:
    """The responses to the requests of one phase."""

    began_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    unsent: int = 0
    """Requests that were due while every connection waited for a response."""
    lost: int = 0
    """Requests whose connection was closed before the response."""

    def took_of(self, status: int) -> list[float]:
        """Return the latencies of the responses with a status, in milliseconds."""
        return [
            took for took, found in zip(self.took_ms, self.statuses, strict=True) if found == status
        ]

    def count(self, status: int) -> int:
        """Return the number of responses with a status."""
        return self.statuses.count(status)

    def between(self, from_s: float, until_s: float) -> "Responses":
        """Return the responses to the requests that were sent in a period."""
        chosen = [at for at, began_s in enumerate(self.began_s) if from_s <= began_s < until_s]
        return Responses(
            [self.began_s[at] for at in chosen],
            [self.took_ms[at] for at in chosen],
            [self.statuses[at] for at in chosen],
        )


class Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, responses: Responses, free: Callable[["Connection"], None]) -> None:
        self.responses = responses
        self._free = free
        self._began_s: float | None = None
        self._received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes) -> None:
        """Send a request."""
        assert self.transport is not None
        self._began_s = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Record the response once it is complete."""
        data = self._received + data
        head, end, body = data.partition(b"\r\n\r\n")
        fields = head.lower()
        length = fields.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length):
            self._received = data
            return
        self._received = b""
        self._record(int(data[9:12]))
        if b"connection: close" in fields:
            assert self.transport is not None
            self.transport.close()
        else:
            self._free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request that receives no response."""
        self.transport = None
        if self._began_s is not None:
            self.responses.lost += 1

    def _record(self, status: int) -> None:
        assert self._began_s is not None
        self.responses.began_s.append(self._began_s)
        self.responses.took_ms.append((time.monotonic() - self._began_s) * 1e3)
        self.responses.statuses.append(status)
        self._began_s = None


async def closed_loop(
    url: str, requests: Sequence[bytes], concurrency: int, seconds: float
) -> Responses:
    """Return the responses to callers each of which waits for a response before the next request.

    The requests are sent one after the other, from the first again after the last.
    """
    responses, end_s, sent = Responses(), time.monotonic() + seconds, 0

    def send(connection: Connection) -> None:
        nonlocal sent
        if time.monotonic() < end_s:
            connection.send(requests[sent % len(requests)])
            sent += 1

    connections = await _connect(url, concurrency, responses, send)
    for connection in connections:
        send(connection)
    await asyncio.sleep(seconds + 2)
    _close(connections)
    return responses


async def open_loop(
    url: str, requests: Sequence[bytes], rate: float, seconds: float, connections: int
) -> Responses:
    """Return the responses to requests that are sent at a rate, whatever happens to others."""
    responses = Responses()
    free: deque[Connection] = deque()
    opened = await _connect(url, connections, responses, free.append)
    free.extend(opened)
    began_s, due = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        while due < elapsed_s * rate:
            if free:
                connection = free.popleft()
                if connection.transport is not None:
                    connection.send(requests[due % len(requests)])
            else:
                responses.unsent += 1
            due += 1
        await asyncio.sleep(0.001)
    await asyncio.sleep(2)
    _close(opened)
    return responses


async def at_once(url: str, requests: Sequence[bytes], number: int) -> Responses:
    """Return the responses to requests that are all sent at the same time."""
    responses = Responses()
    connections = await _connect(url, number, responses, lambda _: None)
    for position, connection in enumerate(connections):
        connection.send(requests[position % len(requests)])
    end_s = time.monotonic() + 10
    while len(responses.statuses) + responses.lost < number and time.monotonic() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    _close(connections)
    return responses


def request(path: str, content_type: str, body: bytes, **headers: str) -> bytes:
    """Return a POST as bytes."""
    fields = {"Host": "localhost", "Content-Type": content_type, **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


async def _connect(
    url: str, number: int, responses: Responses, free: Callable[[Connection], None]
) -> list[Connection]:
    """Open connections from several loopback addresses, each of which may hold 512."""
    loop, parts = asyncio.get_running_loop(), urlsplit(url)
    opened = []
    for position in range(number):
        _, connection = await loop.create_connection(
            lambda: Connection(responses, free),
            parts.hostname or "localhost",
            parts.port or 80,
            local_addr=(f"127.0.0.{2 + position // 256}", 0),
        )
        opened.append(connection)
    return opened


def _close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        if connection.transport is not None:
            connection.transport.abort()
