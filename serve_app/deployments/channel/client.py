"""The router's end of the channels to a version's replicas: a connection each, many calls on it."""

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
    Hello,
    Kind,
    WireError,
    decode_answer,
    decode_error,
    encode,
    encode_call,
    encode_hello,
)
from serve_app.timeouts import CHANNEL_CONNECT_S, CHANNEL_RETRY_S

logger = logging.getLogger(__name__)

BEATS = 6
"""A replica is pinged this often before it counts as silent."""

Results = Sequence[Prediction | Failure]


class ChannelLostError(Exception):
    """The connection ended before the answer was there; another replica may be asked."""


class Channel(asyncio.Protocol):
    """The connection to one replica. Calls go once it has said welcome, until it says goodbye.

    Args:
        address: the replica's.
        version: the `model:version` that it is to serve.
        silence_s: how long it may say nothing before the connection is given up.
        ended: is called once there is no connection, or there is none any more.
    """

    def __init__(
        self,
        address: Address,
        version: str,
        silence_s: float,
        ended: Callable[["Channel"], None],
    ) -> None:
        self.address = address
        self.was_welcome = False
        self.is_leaving = False
        self._version = version
        self._ended = ended
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, asyncio.Future[Results]] = {}
        self._numbers = count(1)
        self._loop = asyncio.get_running_loop()
        self._used_s = 0.0
        self._beat_s = silence_s / BEATS
        self._unanswered_beats = 0
        """Counted, not timed: while this process does not run, no replica is at fault."""
        self._beat: asyncio.TimerHandle | None = None

    @property
    def takes_calls(self) -> bool:
        """Whether calls may go this way."""
        return self.was_welcome and not self.is_leaving and not self._is_clogged()

    def burden(self) -> tuple[bool, int, float]:
        """Return what orders replicas by how soon one may answer, the soonest first."""
        return self._unanswered_beats > 1, len(self._calls), self._used_s

    async def connect(self) -> None:
        """Connect and say hello; it takes calls once the replica has answered."""
        host, port = self.address.host, self.address.port
        try:
            async with asyncio.timeout(CHANNEL_CONNECT_S):
                await self._loop.create_connection(lambda: self, host, port)
        except OSError as error:
            where = f"{host}:{port}"
            logger.warning("%s: no channel to %s: %r", self._version, where, error)
            self._ended(self)

    async def predict_many(self, windows: Windows) -> Results:
        """Answer windows (batch, timesteps, features), in order.

        Raises:
            ChannelLostError: the connection ended first.
            ServingError: as the replica raised it.
        """
        assert self._transport is not None
        number = next(self._numbers)
        frame = encode_call(number, windows)
        answer: asyncio.Future[Results] = self._loop.create_future()
        self._calls[number] = answer
        self._used_s = self._loop.time()
        self._transport.write(frame)
        try:
            return await answer
        finally:
            self._calls.pop(number, None)
            if self.is_leaving:
                self.leave()

    def leave(self) -> None:
        """Take no more calls, and hang up once those under way are answered."""
        self.is_leaving = True
        if self._transport is not None and not self._calls:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        # uvloop's transports are of no class of asyncio's. Both loops have set TCP_NODELAY.
        self._transport = cast(asyncio.Transport, transport)
        hello = Hello(version=self._version, token=self.address.token)
        self._transport.write(encode_hello(hello))
        self._beat = self._loop.call_later(self._beat_s, self._ping)

    def data_received(self, data: bytes) -> None:
        """Take what the replica says."""
        self._unanswered_beats = 0
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except WireError as error:
            self._give_up(str(error))

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever waits for an answer that it will not come this way."""
        if self._beat is not None:
            self._beat.cancel()
        replica = self.address.replica
        if not self.was_welcome and not self.is_leaving:
            logger.warning("%s: replica %s does not want a channel", self._version, replica)
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(ChannelLostError(f"the channel to replica {replica} ended"))
        self._ended(self)

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.ANSWER or frame.kind is Kind.ERROR:
            answer = self._calls.get(frame.call)
            if answer is None or answer.done():
                return  # whoever asked has left
            if frame.kind is Kind.ANSWER:
                _set_results(answer, frame.payload)
            else:
                answer.set_exception(decode_error(frame.payload))
        elif frame.kind is Kind.WELCOME:
            self.was_welcome = True
        elif frame.kind is Kind.GOODBYE:
            self.leave()
        elif frame.kind is not Kind.PONG:
            raise WireError(f"expected what a replica says, received {frame.kind.name}")

    def _is_clogged(self) -> bool:
        """Return whether the replica does not read what it is sent."""
        assert self._transport is not None
        return self._transport.get_write_buffer_size() > MAX_FRAME_BYTES

    def _ping(self) -> None:
        assert self._transport is not None
        if self._unanswered_beats == BEATS:
            self._give_up(f"no word for {BEATS * self._beat_s:g} s")
            return
        self._unanswered_beats += 1
        self._transport.write(encode(Kind.PING))
        self._beat = self._loop.call_later(self._beat_s, self._ping)

    def _give_up(self, problem: str) -> None:
        assert self._transport is not None
        replica = self.address.replica
        logger.warning("%s: channel to replica %s ended: %s", self._version, replica, problem)
        self._transport.abort()


def _set_results(answer: "asyncio.Future[Results]", payload: bytes) -> None:
    """End a call; one whose answer is no answer fails alone."""
    try:
        answer.set_result(decode_answer(payload))
    except WireError as error:
        answer.set_exception(error)


class Channels:
    """The channels to the replicas of one version, as far as they are known.

    Args:
        version: its `model:version`.
        silence_s: how long a replica may say nothing before its channel is given up.
    """

    def __init__(self, version: str, silence_s: float) -> None:
        self._version = version
        self._silence_s = silence_s
        self._channels: dict[str, Channel] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many replicas are known that are not leaving, reached or not."""
        return sum(not each.is_leaving for each in self._channels.values())

    def learn(self, address: Address) -> None:
        """Begin to connect to a replica that is not known."""
        if address.replica in self._channels:
            return
        channel = Channel(address, self._version, self._silence_s, self._forget)
        self._channels[address.replica] = channel
        task = asyncio.get_running_loop().create_task(channel.connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def least_busy(self) -> Channel | None:
        """Return the channel whose replica has the least to do; None where there is none."""
        usable = [each for each in self._channels.values() if each.takes_calls]
        return min(usable, key=Channel.burden, default=None)

    def close(self) -> None:
        """Give up connecting, and hang up wherever no call is under way any more."""
        for task in self._connecting:
            task.cancel()
        for channel in list(self._channels.values()):
            channel.leave()

    def _forget(self, channel: Channel) -> None:
        replica = channel.address.replica
        if channel.was_welcome:
            self._channels.pop(replica, None)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(CHANNEL_RETRY_S, self._channels.pop, replica, None)
