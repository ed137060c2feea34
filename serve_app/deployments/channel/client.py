"""The router's end of the channels to a version's replicas: many calls on one connection each."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import count
from typing import cast

from registry.predictors import Windows
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.deployments.channel.protocol import (
    MAX_FRAME_BYTES,
    Address,
    Frame,
    FrameReader,
    FrameType,
    Hello,
    ProtocolError,
    decode_error,
    decode_results,
    encode,
    encode_call,
    encode_hello,
)
from serve_app.deployments.channel.pulse import Pulse
from serve_app.timeouts import CHANNEL_CONNECT_S, CHANNEL_RETRY_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

HEARTBEATS_PER_TIMEOUT = 6
"""Heartbeats in a row without any reply after which a replica counts as unresponsive."""

Results = Sequence[Prediction | Failure]


class ChannelLostError(Exception):
    """The connection was closed before the results arrived; another replica can be called."""


class Channel(asyncio.Protocol):
    """The connection to one replica; takes calls from the replica's ACCEPT to its GOAWAY.

    Args:
        address: the replica's address.
        version: the version that the replica is expected to serve.
        heartbeat_timeout_s: how long the replica may send nothing before the channel is closed.
        on_closed: called once the connection is closed, or could not be established.
        on_stopped: called once the replica's process is stopped.
    """

    def __init__(
        self,
        address: Address,
        version: VersionRef,
        heartbeat_timeout_s: float,
        on_closed: Callable[["Channel"], None],
        on_stopped: Callable[["Channel"], None],
    ) -> None:
        self.address = address
        self.is_accepted = False
        self.is_draining = False
        self._version = version
        self._on_closed = on_closed
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, asyncio.Future[Results]] = {}
        self._call_ids = count(1)
        self._loop = asyncio.get_running_loop()
        self._last_used_s = 0.0
        self._heartbeat_period_s = heartbeat_timeout_s / HEARTBEATS_PER_TIMEOUT
        self._missed_heartbeats = 0
        """Counted rather than timed, so that a pause of this process does not count against a
        replica."""
        self._heartbeat: asyncio.TimerHandle | None = None
        self._pulse = Pulse(lambda: bool(self._calls), lambda: on_stopped(self))

    @property
    def accepts_calls(self) -> bool:
        """Whether a call may be sent on this channel."""
        return self.is_accepted and not self.is_draining and not self._is_congested()

    @property
    def is_stopped(self) -> bool:
        """Whether the replica's process does not run."""
        return self._pulse.is_stopped

    def busyness(self) -> tuple[bool, int, float]:
        """Return a sort key of channels: the one expected to respond soonest comes first."""
        is_suspect = self.is_stopped or self._missed_heartbeats > 1
        return is_suspect, len(self._calls), self._last_used_s

    async def connect(self) -> None:
        """Connect and send the hello; the channel takes calls once the replica accepts it."""
        host, port = self.address.host, self.address.port
        try:
            async with asyncio.timeout(CHANNEL_CONNECT_S):
                await self._loop.create_connection(lambda: self, host, port)
        except OSError as error:
            where = f"{host}:{port}"
            logger.warning("%s: no channel to %s: %r", self._version, where, error)
            self._on_closed(self)
            return
        if self.address.heartbeat_port is not None:
            await self._pulse.connect(host, self.address.heartbeat_port)

    async def predict_many(self, windows: Windows) -> Results:
        """Return the results of windows (batch, timesteps, features), in order.

        Raises:
            ChannelLostError: the connection was closed first.
            ServingError: the error that the replica raised.
        """
        assert self._transport is not None
        call_id = next(self._call_ids)
        frame = encode_call(call_id, windows)
        response: asyncio.Future[Results] = self._loop.create_future()
        self._calls[call_id] = response
        self._last_used_s = self._loop.time()
        self._transport.write(frame)
        self._pulse.watch()
        try:
            return await response
        finally:
            self._calls.pop(call_id, None)
            if self.is_draining:
                self.drain()

    def release_calls(self) -> None:
        """Raise ChannelLostError in the calls in flight; the connection remains."""
        problem = f"replica {self.address.replica} is stopped"
        for response in self._calls.values():
            if not response.done():
                response.set_exception(ChannelLostError(problem))

    def drain(self) -> None:
        """Take no more calls, and close the connection once no call is in flight."""
        self.is_draining = True
        if self._transport is not None and not self._calls:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once; calls in flight raise ChannelLostError."""
        assert self._transport is not None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the hello and schedule the first heartbeat."""
        # uvloop's transports derive from no class of asyncio. Both loops have set TCP_NODELAY.
        self._transport = cast(asyncio.Transport, transport)
        hello = Hello(version=str(self._version), token=self.address.token)
        self._transport.write(encode_hello(hello))
        self._heartbeat = self._loop.call_later(self._heartbeat_period_s, self._send_heartbeat)

    def data_received(self, data: bytes) -> None:
        """Handle the frames of the replica."""
        self._missed_heartbeats = 0
        try:
            for frame in self._reader.feed(data):
                self._handle(frame)
        except ProtocolError as error:
            self._abort_with(str(error))

    def connection_lost(self, _: Exception | None) -> None:
        """Fail the calls in flight with ChannelLostError."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._pulse.close()
        replica = self.address.replica
        if not self.is_accepted and not self.is_draining:
            logger.warning("%s: replica %s rejected the channel", self._version, replica)
        for response in self._calls.values():
            if not response.done():
                response.set_exception(
                    ChannelLostError(f"the channel to replica {replica} was closed")
                )
        self._on_closed(self)

    def _handle(self, frame: Frame) -> None:
        if frame.type is FrameType.RESULTS or frame.type is FrameType.ERROR:
            response = self._calls.get(frame.call_id)
            if response is None or response.done():
                return  # the caller has given up
            if frame.type is FrameType.RESULTS:
                _set_results(response, frame.payload)
            else:
                response.set_exception(decode_error(frame.payload))
        elif frame.type is FrameType.ACCEPT:
            self.is_accepted = True
        elif frame.type is FrameType.GOAWAY:
            self.drain()
        elif frame.type is not FrameType.PONG:
            raise ProtocolError(f"expected a replica's frame, received {frame.type.name}")

    def _is_congested(self) -> bool:
        """Return whether the replica does not read what this router sends."""
        assert self._transport is not None
        return self._transport.get_write_buffer_size() > MAX_FRAME_BYTES

    def _send_heartbeat(self) -> None:
        assert self._transport is not None
        if self._missed_heartbeats == HEARTBEATS_PER_TIMEOUT:
            unresponsive_s = HEARTBEATS_PER_TIMEOUT * self._heartbeat_period_s
            self._abort_with(f"no heartbeat for {unresponsive_s:g} s")
            return
        self._missed_heartbeats += 1
        self._transport.write(encode(FrameType.PING))
        self._heartbeat = self._loop.call_later(self._heartbeat_period_s, self._send_heartbeat)

    def _abort_with(self, problem: str) -> None:
        replica = self.address.replica
        logger.warning("%s: channel to replica %s closed: %s", self._version, replica, problem)
        self.abort()


def _set_results(response: "asyncio.Future[Results]", payload: bytes) -> None:
    """Complete a call; results that cannot be decoded fail that call alone."""
    try:
        response.set_result(decode_results(payload))
    except ProtocolError as error:
        response.set_exception(error)


class ChannelPool:
    """The channels to the replicas of one version that have been discovered so far.

    Args:
        version: the version that the replicas serve.
        heartbeat_timeout_s: how long a replica may send nothing before its channel is closed.
    """

    def __init__(self, version: VersionRef, heartbeat_timeout_s: float) -> None:
        self._version = version
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._channels: dict[str, Channel] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many known replicas are not draining, connected or not."""
        return sum(not channel.is_draining for channel in self._channels.values())

    def add(self, address: Address) -> None:
        """Start to connect to a replica, unless it is known already."""
        if address.replica in self._channels:
            return
        channel = Channel(
            address, self._version, self._heartbeat_timeout_s, self._remove, self._leave
        )
        self._channels[address.replica] = channel
        task = asyncio.get_running_loop().create_task(channel.connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def available(self) -> list[Channel]:
        """Return the channels that accept calls."""
        return [channel for channel in self._channels.values() if channel.accepts_calls]

    def least_busy(self) -> Channel | None:
        """Return the channel to the least busy replica, None if no channel accepts calls."""
        return min(self.available(), key=Channel.busyness, default=None)

    def close(self) -> None:
        """Stop connecting, and close every channel once no call is in flight on it."""
        for task in self._connecting:
            task.cancel()
        for channel in list(self._channels.values()):
            channel.drain()

    def _leave(self, stopped: Channel) -> None:
        """Send the calls of a stopped replica to another one, if there is one that runs."""
        if any(not channel.is_stopped for channel in self.available()):
            logger.warning(
                "%s: replica %s is stopped; its calls are sent to another one",
                self._version,
                stopped.address.replica,
            )
            stopped.release_calls()

    def _remove(self, channel: Channel) -> None:
        replica = channel.address.replica
        if channel.is_accepted:
            self._channels.pop(replica, None)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(CHANNEL_RETRY_S, self._channels.pop, replica, None)
