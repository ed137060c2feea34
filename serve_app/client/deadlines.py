"""The deadline of a call, and a timeout that is fair to responses which have already arrived."""

import asyncio
import math
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_ROUNDS = 8
"""Rounds of the event loop in which a connection or a response that has arrived is completed; each
takes microseconds unless the loop is busy."""

_GRACE_S = 0.1
"""The longest time for these rounds, so that a busy loop does not extend a call further."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time by which a call ends, retries included."""

    total_s: float
    ends_s: float
    """On the clock `time.monotonic`."""
    unreachable_s: float = math.inf
    """The time without a connection after which the call ends earlier."""
    is_sent: bool = False
    """Whether the server receives the time left, so that it rejects at once what will be late."""

    @classmethod
    def after(
        cls, total_s: float, unreachable_s: float = math.inf, *, is_sent: bool = False
    ) -> Self:
        """Return the deadline of a call that starts now."""
        return cls(total_s, time.monotonic() + total_s, unreachable_s, is_sent)

    def left_s(self) -> float:
        """Return the time left; negative after the deadline."""
        return self.ends_s - time.monotonic()


class FairTimeout:
    """Cancels its block after `limit_s`, as `asyncio.timeout` does, and raises TimeoutError.

    An event loop that has been busy runs a late timer before it resumes the tasks whose data has
    arrived meanwhile, so that `asyncio.timeout` discards responses that were in time. This timeout
    lets the loop handle them first: the time in which the bot itself was busy costs no response.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle = self._loop.call_later(self._limit_s, self._expire)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _expire(self) -> None:
        self._end(_ROUNDS, self._loop.time() + _GRACE_S)

    def _end(self, rounds: int, latest_s: float) -> None:
        now_s = self._loop.time()
        if rounds > 0 and now_s < latest_s:
            self._handle = self._loop.call_soon(self._end, rounds - 1, latest_s)
        else:
            self._timeout.reschedule(now_s)
