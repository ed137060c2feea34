"""Distinguishes a replica that is stopped from one that is slow."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from serve_app.timeouts import CHANNEL_CONNECT_S, PULSE_PERIOD_S, PULSES_MISSED

logger = logging.getLogger(__name__)


class Pulse(asyncio.Protocol):
    """A connection to the thread of a replica that replies while the replica's model runs.

    Nothing is sent while calls return within PULSE_PERIOD_S, so that a quick model costs nothing.

    Args:
        is_awaited: whether a call to the replica is in flight.
        on_stopped: called once no reply has arrived for PULSES_MISSED periods.
    """

    def __init__(self, is_awaited: Callable[[], bool], on_stopped: Callable[[], None]) -> None:
        self.is_stopped = False
        """Whether the replica's process does not run; True until it replies again."""
        self._is_awaited = is_awaited
        self._on_stopped = on_stopped
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_sent = False
        self._missed = 0
        """Periods without the reply; counted, so that a pause of this process does
        not count against a replica."""

    async def connect(self, host: str, port: int) -> None:
        """Connect to the replica; without a connection no replica counts as stopped."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CHANNEL_CONNECT_S):
                await loop.create_connection(lambda: self, host, port)
        except OSError as error:
            logger.warning("no heartbeats from %s:%s: %r", host, port, error)

    def watch(self) -> None:
        """Observe the replica until no call is in flight; called when a call starts."""
        if self._timer is None and self._transport is not None:
            self._schedule()

    def close(self) -> None:
        """Close the connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _data: bytes) -> None:
        """Count the replica as running."""
        self._is_sent = False
        self._missed = 0
        self.is_stopped = False

    def connection_lost(self, _: Exception | None) -> None:
        """Observe no more; the end of a replica closes its channel, too."""
        self.close()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PULSE_PERIOD_S, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._transport is None or not (self._is_awaited() or self._is_sent):
            return
        if not self._is_sent:
            self._transport.write(b"?")
            self._is_sent = True
        elif not self.is_stopped:
            self._missed += 1
            if self._missed == PULSES_MISSED:
                self.is_stopped = True
                self._on_stopped()
        self._schedule()
