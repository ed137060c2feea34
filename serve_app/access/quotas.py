"""The limits per token: a token bucket for its rate, a count for its requests in flight.

A router counts the requests that it receives itself, so that n routers permit n times as many.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from serve_app.errors import ConcurrencyLimitError, RateLimitError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of every token; None for no limit."""

    requests_per_s: int | None
    max_concurrent_requests: int | None


class Quota:
    """The use of one token.

    The bucket holds the requests of one second: a token that was idle may send that many at once.

    Args:
        name: the name of the token, for errors.
        limits: its limits.
        clock: returns seconds.
    """

    def __init__(self, name: str, limits: Limits, clock: Callable[[], float]) -> None:
        self._name, self.limits, self._clock = name, limits, clock
        self._left = float(limits.requests_per_s or 0)
        self._filled_s = clock()
        self.in_flight = 0

    def begin(self) -> None:
        """Count a request; each call that returns is followed by one of `end`.

        Raises:
            RateLimitError: the bucket is empty.
            ConcurrencyLimitError: too many requests are in flight.
        """
        limits = self.limits
        if limits.requests_per_s is not None:
            rate = limits.requests_per_s
            now_s = self._clock()
            self._left = min(float(rate), self._left + (now_s - self._filled_s) * rate)
            self._filled_s = now_s
            if self._left < 1:
                wait_s = math.ceil((1 - self._left) / rate)
                raise RateLimitError(self._name, rate, wait_s)
        if (
            limits.max_concurrent_requests is not None
            and self.in_flight >= limits.max_concurrent_requests
        ):
            raise ConcurrencyLimitError(self._name, limits.max_concurrent_requests)
        self._left -= 1
        self.in_flight += 1

    def end(self) -> None:
        """Count the end of a request."""
        self.in_flight -= 1

    @property
    def requests_left(self) -> int:
        """The number of requests that may be sent at once."""
        return max(0, math.floor(self._left))
