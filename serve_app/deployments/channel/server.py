"""The replica's end of a channel: serves the calls of routers that know its token, over TCP.

A call through Serve's handle costs 1.6 ms, most of it for choices that a router makes better
itself; a call through a channel costs 0.3 ms. All other callers use Serve's handle.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

from registry.predictors import Windows
from registry.records import ModelMetadata
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.deployments.channel.protocol import (
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    Address,
    Frame,
    FrameReader,
    FrameType,
    ProtocolError,
    decode_call,
    decode_hello,
    encode,
    encode_error,
    encode_results,
)
from serve_app.errors import PredictionFailedError, ServingError
from serve_app.timeouts import CHANNEL_DRAIN_S, CHANNEL_IDLE_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

PredictMany = Callable[[Windows], Awaitable[Sequence[Prediction | Failure]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits on the connections of one replica."""

    idle_timeout_s: float = CHANNEL_IDLE_S
    """A connection that sends nothing for this long is closed; routers send a heartbeat twice per
    second."""
    drain_timeout_s: float = CHANNEL_DRAIN_S
    """How long routers may keep their connections after GOAWAY; as long as a request may wait."""
    max_pending: int = 64
    """Connections that have not sent a valid hello; a further one is closed at once."""


class ChannelServer:
    """Accepts the connections of routers and serves their calls.

    Args:
        metadata: metadata of the version that the replica serves.
        predict_many: computes the results of windows (batch, timesteps, features).
        max_concurrent_calls: calls computed at the same time; further calls wait here.
        limits: limits on the connections.
    """

    def __init__(
        self,
        metadata: ModelMetadata,
        predict_many: PredictMany,
        max_concurrent_calls: int,
        limits: ConnectionLimits = ConnectionLimits(),
    ) -> None:
        self.limits = limits
        self.is_draining = False
        """Whether routers are to send no more calls."""
        self._version = VersionRef.of(metadata)
        self._predict_many = predict_many
        self._slots = asyncio.Semaphore(max_concurrent_calls)
        self._token = secrets.token_hex(32)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    @property
    def connection_count(self) -> int:
        """The number of open connections, pending ones included."""
        return len(self._connections)

    async def open(self, replica: str, host: str, heartbeat_port: int | None = None) -> Address:
        """Listen on a free port of `host` and return the address; OSError if that fails.

        Args:
            replica: the replica's unique name.
            host: the node's address.
            heartbeat_port: the port on which a thread of this process replies to heartbeats.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, 0)
        port = self._server.sockets[0].getsockname()[1]
        return Address(
            replica=replica,
            host=host,
            port=port,
            token=self._token,
            heartbeat_port=heartbeat_port,
        )

    async def close(self) -> None:
        """Accept no more connections, and serve calls until the routers have closed theirs."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(self.limits.drain_timeout_s):
                await self._all_closed.wait()
        except TimeoutError:
            logger.warning(
                "%d connections still open %g s after GOAWAY: closed by force",
                len(self._connections),
                self.limits.drain_timeout_s,
            )
            self.abort_connections()

    def abort_connections(self) -> None:
        """Close every connection at once; routers send the calls in flight elsewhere."""
        for connection in list(self._connections):
            connection.abort()

    def authenticates(self, payload: bytes) -> bool:
        """Return whether a hello has the token and version; ProtocolError if it is no hello."""
        hello = decode_hello(payload)
        has_token = secrets.compare_digest(hello.token.encode(), self._token.encode())
        return has_token and hello.version == str(self._version)

    async def serve_call(self, call_id: int, windows: Windows) -> bytes:
        """Compute a call and return the frame with its results or its error."""
        try:
            async with self._slots:
                return encode_results(call_id, await self._predict_many(windows))
        except ServingError as error:
            return encode_error(call_id, error)
        except Exception as error:
            logger.exception("%s failed", self._version)
            model, version = self._version
            return encode_error(call_id, PredictionFailedError.unexpected(model, version, error))

    def add(self, connection: "_Connection") -> None:
        """Register a connection; close it at once when too many are pending."""
        pending = sum(not connection.is_accepted for connection in self._connections)
        self._connections.add(connection)
        self._all_closed.clear()
        if pending >= self.limits.max_pending:
            connection.abort()

    def remove(self, connection: "_Connection") -> None:
        """Unregister a connection that is closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()


class _Connection(asyncio.Protocol):
    """The connection of one router, pending until the router has sent a valid hello."""

    _transport: asyncio.Transport

    def __init__(self, server: ChannelServer) -> None:
        self.is_accepted = False
        self._server = server
        self._reader = FrameReader(MAX_HELLO_BYTES)
        self._calls: set[asyncio.Task[None]] = set()
        self._has_received = False
        """Whether data has arrived since the last check for idleness."""
        self._is_lost = False
        self._loop = asyncio.get_running_loop()
        self._idle_check = self._schedule_idle_check()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports derive from no class of asyncio. Both loops have set TCP_NODELAY.
        self._transport = cast(asyncio.Transport, transport)
        self._server.add(self)

    def data_received(self, data: bytes) -> None:
        self._has_received = True
        try:
            for frame in self._reader.feed(data):
                self._handle(frame)
        except ProtocolError as error:
            peer = self._transport.get_extra_info("peername")
            logger.warning("connection from %s closed: %s", peer, error)
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._is_lost = True
        self._idle_check.cancel()
        for call in self._calls:
            call.cancel()  # the router is gone, and its caller with it
        self._server.remove(self)

    def drain(self) -> None:
        """Ask the router to send no more calls; close the connection if it is pending."""
        if self.is_accepted:
            self._transport.write(encode(FrameType.GOAWAY))
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _handle(self, frame: Frame) -> None:
        if not self.is_accepted:
            self._accept(frame)
        elif frame.type is FrameType.CALL:
            windows = decode_call(frame.payload)
            task = self._loop.create_task(self._serve_call(frame.call_id, windows))
            self._calls.add(task)
            task.add_done_callback(self._end_call)
        elif frame.type is FrameType.PING:
            self._transport.write(encode(FrameType.PONG))
        else:
            raise ProtocolError(f"expected a call or a heartbeat, received {frame.type.name}")

    def _accept(self, frame: Frame) -> None:
        if frame.type is not FrameType.HELLO or not self._server.authenticates(frame.payload):
            raise ProtocolError("expected a hello with this replica's version and token")
        self.is_accepted = True
        self._reader.max_bytes = MAX_FRAME_BYTES
        self._transport.write(encode(FrameType.ACCEPT))
        if self._server.is_draining:
            self.drain()

    async def _serve_call(self, call_id: int, windows: Windows) -> None:
        self._transport.write(await self._server.serve_call(call_id, windows))

    def _end_call(self, call: "asyncio.Task[None]") -> None:
        """Close the connection if a call ended without a response: the router then retries."""
        self._calls.discard(call)
        if not self._is_lost and (call.cancelled() or call.exception() is not None):
            logger.error(
                "call ended without a response",
                exc_info=None if call.cancelled() else call.exception(),
            )
            self.abort()

    def _schedule_idle_check(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._server.limits.idle_timeout_s, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._has_received or not self.is_accepted:
            self.abort()
            return
        self._has_received = False
        self._idle_check = self._schedule_idle_check()
