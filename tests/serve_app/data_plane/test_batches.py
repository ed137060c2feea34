"""Batches, with backends in process."""

import asyncio

import pytest

from serve_app.data_plane.deadlines import Deadline, current_deadline
from serve_app.data_plane.responses import FailedItem
from serve_app.errors import (
    BodyTooLargeError,
    DeadlinePassedError,
    InvalidRequestError,
    OverloadedError,
    TooManyVersionsError,
)
from tests.serve_app.core import (
    NO_PREDICTION,
    WINDOW,
    FakeBackend,
    FakeFleet,
    core,
    request,
)


def codes_or_returns(response):
    """Return the code of each failed item, and the expected return of every other item."""
    return [
        item.error.code if isinstance(item, FailedItem) else item.prediction.expected_return
        for item in response.items
    ]


async def test_invalid_item_fails_alone_in_its_position():
    """Responses keep the order of their requests, and a failed request affects no other."""
    undecodable = FailedItem(None, InvalidRequestError("request", "a JSON object", "a text"))
    items = [
        request([1.0, *WINDOW[1:]]),
        request(WINDOW[:-1]),
        request([2.0, *WINDOW[1:]], model_version="1.1.0"),
        undecodable,
        request(NO_PREDICTION),
        request([3.0, *WINDOW[1:]]),
        request(model_version="9.9.9"),
    ]
    response = await core().predict_batch(items)
    assert codes_or_returns(response) == [
        1.0,
        "invalid_features",
        2.0,
        "invalid_request",
        "model_output",
        3.0,
        "not_served",
    ]
    assert [item.symbol for item in response.items] == [*["BTCUSDT"] * 3, None, *["BTCUSDT"] * 3]
    assert response.items[3] is undecodable
    assert (response.succeeded, response.failed) == (3, 4)
    assert response.latency_ms >= 0


async def test_runs_respect_max_batch_size():
    """Each version receives its requests in runs of at most `max_batch_size`."""
    old, new = FakeBackend(1), FakeBackend(2)
    items = [request(), request(model_version="1.1.0")] * 5
    await core(old, new).predict_batch(items, max_batch_size=2)
    assert (old.batches, new.batches) == ([2, 2, 1], [2, 2, 1])


async def test_overloaded_version_fails_only_its_items():
    """Requests for another version of the same batch are unaffected by an overload."""
    old = FakeBackend(1, error=OverloadedError("toy", "1.0.0", "queue full"))
    response = await core(old).predict_batch([request(), request(model_version="1.1.0")])
    assert codes_or_returns(response) == ["overloaded", 1.0]


async def test_late_batch_is_abandoned():
    """A batch whose deadline passes between two runs fails as a whole, and runs no further ones."""

    class Slow(FakeBackend):
        async def predict_many(self, windows):
            await asyncio.sleep(0.03)
            return await super().predict_many(windows)

    old = Slow(1)
    current_deadline.set(Deadline(asyncio.get_running_loop().time() + 0.02, 20.0))
    with pytest.raises(DeadlinePassedError):
        await core(old).predict_batch([request()] * 4, max_batch_size=2)
    assert old.batches == [2]


async def test_oversized_batch_is_rejected_whole():
    """A batch with more requests than the limit is rejected before any of them is served."""
    under_test = core(max_batch_requests=2)
    with pytest.raises(BodyTooLargeError, match="at most 2 requests, received 3"):
        await under_test.predict_batch([request()] * 3)
    under_test.batches.check_size(2)
    with pytest.raises(BodyTooLargeError):
        under_test.batches.check_size(3)


async def test_failed_load_on_demand_affects_only_its_item():
    """A version that cannot be loaded on demand fails its own request only."""
    fleet = FakeFleet(TooManyVersionsError("toy", "2.0.0", 8))
    under_test = core(fleet=fleet, loads_on_demand=True)
    response = await under_test.predict_batch([request(model_version="2.0.0"), request()])
    assert codes_or_returns(response) == ["too_many_versions", 1.0]


async def test_batch_in_flight_outlives_its_version():
    """A version that leaves the routing table still completes the batch that it has begun."""

    class Leaves(FakeBackend):
        async def predict_many(self, windows):
            under_test.backends.adopt(())
            return await super().predict_many(windows)

    under_test = core(old=Leaves(1))
    response = await under_test.predict_batch([request()] * 3, max_batch_size=1)
    assert (response.succeeded, response.failed) == (3, 0)
