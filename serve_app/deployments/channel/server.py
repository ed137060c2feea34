"""The replica's end of a channel: answers the routers that know its token, over TCP.

A call through Serve's handle costs 1.6 ms, most of it for choices that a router makes better
itself; one that comes here costs 0.3 ms. Serve's handle stays the way for everybody else.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
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
    Kind,
    WireError,
    decode_call,
    decode_hello,
    encode,
    encode_answer,
    encode_error,
)
from serve_app.errors import PredictionFailedError, ServingError
from serve_app.timeouts import CHANNEL_GOODBYE_S, CHANNEL_IDLE_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

MAX_STRANGERS = 64
"""Connections that have not said hello; a further one is ended at once."""

PredictMany = Callable[[Windows], Awaitable[Sequence[Prediction | Failure]]]


class Listener:
    """Takes connections of routers.

    Args:
        metadata: of the version that is served here.
        predict_many: answers windows (batch, timesteps, features).
        at_once: most calls that are answered at a time; further ones wait here.
    """

    def __init__(self, metadata: ModelMetadata, predict_many: PredictMany, at_once: int) -> None:
        self._metadata = metadata
        self._predict_many = predict_many
        self._places = asyncio.Semaphore(at_once)
        self._token = secrets.token_hex(32)
        self._server: asyncio.Server | None = None
        self.is_closing = False
        """Whether routers are to send no more calls."""
        self._connections: set[_Connection] = set()
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    async def open(self, replica: str, host: str) -> Address:
        """Listen on a free port of `host`, and return where; OSError where that cannot be."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, 0)
        port = self._server.sockets[0].getsockname()[1]
        return Address(replica=replica, host=host, port=port, token=self._token)

    async def close(self) -> None:
        """Take no more connections, and answer what comes until the routers hang up."""
        self.is_closing = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.say_goodbye()
        try:
            async with asyncio.timeout(CHANNEL_GOODBYE_S):
                await self._all_gone.wait()
        except TimeoutError:
            logger.warning("%d routers did not hang up", len(self._connections))
            for connection in list(self._connections):
                connection.abort()

    def admits(self, payload: bytes) -> bool:
        """Return whether a hello is that of a router of ours; WireError where it is no hello."""
        hello = decode_hello(payload)
        knows_token = secrets.compare_digest(hello.token.encode(), self._token.encode())
        return knows_token and hello.version == str(VersionRef.of(self._metadata))

    async def answer(self, call: int, windows: Windows) -> bytes:
        """Return the frame that answers a call, whatever comes of it."""
        try:
            async with self._places:
                return encode_answer(call, await self._predict_many(windows))
        except ServingError as error:
            return encode_error(call, error)
        except Exception as error:
            name, version = self._metadata.name, self._metadata.version
            logger.exception("%s:%s failed", name, version)
            return encode_error(call, PredictionFailedError.unforeseen(name, version, error))

    def add(self, connection: "_Connection") -> None:
        """Count a connection, or end it where too many have not said hello."""
        strangers = sum(not each.is_admitted for each in self._connections)
        self._connections.add(connection)
        self._all_gone.clear()
        if strangers >= MAX_STRANGERS:
            connection.abort()

    def remove(self, connection: "_Connection") -> None:
        """Count it no more."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_gone.set()


class _Connection(asyncio.Protocol):
    """One router's."""

    _transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._reader = FrameReader(MAX_HELLO_BYTES)
        self.is_admitted = False
        self._calls: set[asyncio.Task[None]] = set()
        self._was_heard = False
        self._is_lost = False
        self._loop = asyncio.get_running_loop()
        self._idle = self._loop.call_later(CHANNEL_IDLE_S, self._end_if_idle)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's. Both loops have set TCP_NODELAY.
        self._transport = cast(asyncio.Transport, transport)
        self._listener.add(self)

    def data_received(self, data: bytes) -> None:
        self._was_heard = True
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except WireError as error:
            peer = self._transport.get_extra_info("peername")
            logger.warning("connection of %s ended: %s", peer, error)
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._is_lost = True
        self._idle.cancel()
        for call in self._calls:
            call.cancel()  # nobody is there to hear the answer
        self._listener.remove(self)

    def say_goodbye(self) -> None:
        """Have the router send no more calls; hang up on who is none."""
        if self.is_admitted:
            self._transport.write(encode(Kind.GOODBYE))
        else:
            self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    def _take(self, frame: Frame) -> None:
        if not self.is_admitted:
            self._admit(frame)
        elif frame.kind is Kind.CALL:
            task = self._loop.create_task(self._answer(frame.call, decode_call(frame.payload)))
            self._calls.add(task)
            task.add_done_callback(self._end_call)
        elif frame.kind is Kind.PING:
            self._transport.write(encode(Kind.PONG))
        else:
            raise WireError(f"expected a call or a ping, received {frame.kind.name}")

    def _admit(self, frame: Frame) -> None:
        if frame.kind is not Kind.HELLO or not self._listener.admits(frame.payload):
            raise WireError("expected the hello of a router of this version, with its token")
        self.is_admitted = True
        self._reader.max_bytes = MAX_FRAME_BYTES
        self._transport.write(encode(Kind.WELCOME))
        if self._listener.is_closing:
            self.say_goodbye()

    async def _answer(self, call: int, windows: Windows) -> None:
        self._transport.write(await self._listener.answer(call, windows))

    def _end_call(self, call: "asyncio.Task[None]") -> None:
        """Hang up where a call ended without an answer, so that the router asks again."""
        self._calls.discard(call)
        if not self._is_lost and (call.cancelled() or call.exception() is not None):
            logger.error(
                "a call was not answered", exc_info=None if call.cancelled() else call.exception()
            )
            self.abort()

    def _end_if_idle(self) -> None:
        if not self._was_heard or not self.is_admitted:
            self.abort()
            return
        self._was_heard = False
        self._idle = self._loop.call_later(CHANNEL_IDLE_S, self._end_if_idle)
