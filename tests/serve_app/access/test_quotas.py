"""The limits per token."""

import pytest

from serve_app.access.quotas import Limits, Quota
from serve_app.errors import ConcurrencyLimitError, RateLimitError


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def send(quota, count):
    for _ in range(count):
        quota.begin()
        quota.end()


def test_bucket_holds_one_second(clock):
    """A token may send one second's requests at once, and then as many as time permits."""
    quota = Quota("bot", Limits(10, None), clock)
    send(quota, 10)
    with pytest.raises(RateLimitError, match="at most 10 requests per second") as caught:
        quota.begin()
    assert caught.value.retry_after_s == 1
    clock.now_s += 0.2
    send(quota, 2)
    with pytest.raises(RateLimitError):
        quota.begin()
    clock.now_s += 3600
    assert quota.requests_left == 0  # counted with the next request
    send(quota, 10)
    with pytest.raises(RateLimitError):
        quota.begin()


def test_long_run_rate(clock):
    """Over a minute of excess requests, a token gets its rate and not more."""
    quota = Quota("bot", Limits(50, None), clock)
    accepted = 0
    for _ in range(60 * 200):
        clock.now_s += 1 / 200
        try:
            send(quota, 1)
        except RateLimitError:
            continue
        accepted += 1
    assert 60 * 50 <= accepted <= 60 * 50 + 50


def test_requests_in_flight(clock):
    """Further requests are rejected until one has ended; a rejected one uses up nothing."""
    quota = Quota("bot", Limits(10, 2), clock)
    quota.begin()
    quota.begin()
    for _ in range(20):
        with pytest.raises(ConcurrencyLimitError, match="at most 2 requests in flight"):
            quota.begin()
    assert quota.requests_left == 8
    quota.end()
    quota.begin()
    assert quota.in_flight == 2


def test_no_limits(clock):
    """Without limits everything is accepted."""
    quota = Quota("bot", Limits(None, None), clock)
    send(quota, 10_000)
