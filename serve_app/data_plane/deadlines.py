"""Deadlines: when the caller of a request needs its response, and whether it can be had by then.

A deadline follows its request as a context variable, so that whatever runs on behalf of the request
can check it. Runs of an experiment's variants have a context of their own and no deadline: a run
that was dropped would count against its variant.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from serve_app.errors import DeadlinePassedError, RouterOverloadedError

DEFAULT_MS = 1000.0
"""The deadline of a request that states none."""

ALWAYS_ADMITTED = 8
"""The number of requests in flight up to which no estimate rejects one: a few requests may share a
run of the model, so that their number says little about the time that each will take."""

_WEIGHT = 1 / 64


class Deadline(NamedTuple):
    """The end of the time that a caller allows for a response; a tuple, created per request."""

    due_s: float
    """The end, by `time.monotonic`."""
    allowed_ms: float
    """The time from the arrival of the request."""

    def check(self) -> None:
        """Raise DeadlinePassedError if the deadline has passed."""
        if time.monotonic() >= self.due_s:
            raise self.error()

    def error(self) -> DeadlinePassedError:
        """Return the error of a request whose deadline has passed."""
        return DeadlinePassedError(self.allowed_ms)


NO_DEADLINE = Deadline(float("inf"), float("inf"))

current_deadline: ContextVar[Deadline] = ContextVar("deadline", default=NO_DEADLINE)
"""The deadline of the request on whose behalf this context runs."""


class Pace:
    """Estimates how long the requests in flight keep a router busy.

    A router with n requests in flight responds to a further one after n + 1 intervals, where the
    interval is the mean time per response while any request is in flight. It includes whatever
    requests wait for: runs that batches share, replicas, and other processes on the same cores.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight = 0
        self._since_s = 0.0
        self._interval_s = 0.0

    @property
    def interval_us(self) -> int:
        """The mean time per response in microseconds; 0 before the first response."""
        return round(self._interval_s * 1e6)

    def begin(self) -> None:
        """Count a request whose body has been read."""
        if self._in_flight == 0:
            self._since_s = self._clock()
        self._in_flight += 1

    def end(self) -> None:
        """Count the response to a request."""
        now_s = self._clock()
        self._in_flight -= 1
        took_s, self._since_s = now_s - self._since_s, now_s
        self._interval_s += (took_s - self._interval_s) * (_WEIGHT if self._interval_s else 1.0)

    def check(self, deadline: Deadline) -> None:
        """Raise an error unless the response to a further request is expected by its deadline.

        Raises:
            DeadlinePassedError: the deadline has passed.
            RouterOverloadedError: the deadline will have passed.
        """
        left_s = deadline.due_s - self._clock()
        if left_s <= 0:
            raise deadline.error()
        expected_s = (self._in_flight + 1) * self._interval_s
        if expected_s > left_s and self._in_flight >= ALWAYS_ADMITTED:
            expected_ms = deadline.allowed_ms + (expected_s - left_s) * 1e3
            raise RouterOverloadedError(self._in_flight, expected_ms, deadline.allowed_ms)
