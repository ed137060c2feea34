"""Deadlines, and the estimate of the time that a further request takes."""

import pickle
import time

import pytest

from serve_app.data_plane.deadlines import ALWAYS_ADMITTED, NO_DEADLINE, Deadline, Pace
from serve_app.errors import DeadlinePassedError, RouterOverloadedError


class Clock:
    """A clock that the test advances."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s

    def due(self, allowed_s):
        return Deadline(self.now_s + allowed_s, allowed_s * 1e3)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock)


def serve(pace, clock, requests, in_flight, took_s):
    """Let a router with this many requests in flight respond to one per `took_s`."""
    for _ in range(in_flight):
        pace.begin()
    for _ in range(requests):
        clock.now_s += took_s
        pace.end()
        pace.begin()


def test_check():
    """A deadline that has passed raises its error; no deadline never does."""
    Deadline(time.monotonic() + 60, 6e4).check()
    NO_DEADLINE.check()
    with pytest.raises(DeadlinePassedError, match="within the deadline of 5 ms") as raised:
        Deadline(time.monotonic(), 5.0).check()
    assert pickle.loads(pickle.dumps(raised.value)).deadline_ms == 5.0


def test_unknown_pace_admits(pace, clock):
    """Before the first response nothing is known, and a burst at the start is admitted."""
    for _ in range(500):
        pace.check(clock.due(0.01))
        pace.begin()
    assert pace.interval_us == 0


def test_late_request_is_rejected(pace, clock):
    """20 in flight at 10 ms each: the response to the next one is expected after 210 ms."""
    serve(pace, clock, requests=1000, in_flight=20, took_s=0.010)
    assert pace.interval_us == pytest.approx(10_000)
    pace.check(clock.due(0.220))
    with pytest.raises(RouterOverloadedError, match="of 200 ms, estimated 210 ms with 20 requests"):
        pace.check(clock.due(0.200))


def test_past_deadline(pace, clock):
    """A request that arrives after its deadline has another status than one that would be late."""
    with pytest.raises(DeadlinePassedError):
        pace.check(clock.due(0.0))


def test_few_requests_are_admitted(pace, clock):
    """A slow model runs a few requests at once, so that their number says little."""
    serve(pace, clock, requests=100, in_flight=ALWAYS_ADMITTED - 1, took_s=0.5)
    pace.check(clock.due(0.1))
    pace.begin()
    with pytest.raises(RouterOverloadedError):
        pace.check(clock.due(0.1))


def test_idle_time_does_not_count(pace, clock):
    """The pause between two requests is no time that a response took."""
    for _ in range(10):
        pace.begin()
        clock.now_s += 0.002
        pace.end()
        clock.now_s += 5.0
    assert pace.interval_us == pytest.approx(2000)


def test_shared_run(pace, clock):
    """Responses to 32 requests of one run of 32 ms count as 1 ms each."""
    for _ in range(50):
        for _ in range(32):
            pace.begin()
        clock.now_s += 0.032
        for _ in range(32):
            pace.end()
    assert pace.interval_us == pytest.approx(1000, rel=0.4)


def test_recovers_from_a_stop(pace, clock):
    """A pause of 3 s, as of a replica that is replaced, is forgotten within 500 responses."""
    serve(pace, clock, requests=100, in_flight=10, took_s=0.001)
    serve(pace, clock, requests=1, in_flight=0, took_s=3.0)
    assert pace.interval_us > 40_000
    serve(pace, clock, requests=500, in_flight=0, took_s=0.001)
    assert pace.interval_us < 1100
