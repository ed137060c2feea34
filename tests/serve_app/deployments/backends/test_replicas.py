"""The backend of a version in replicas: errors of calls, health, batching and limits."""

import asyncio
import time

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.deployments.backends.replicas import (
    ATTEMPTS,
    MAX_MESSAGE_BYTES,
    ReplicaBackend,
)
from serve_app.errors import (
    InvalidFeaturesError,
    OverloadedError,
    PredictionFailedError,
    VersionLoadingError,
)
from serve_app.timeouts import REPLICA_HEARTBEAT_PERIOD_S, REPLICA_HEARTBEAT_S
from tests.serve_app.deployments.backends.replica_handles import (
    AUTOSCALED,
    PREDICTION,
    WINDOW,
    Handle,
    Method,
    Recorder,
    submit,
    version,
)


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def backend_of(*results, timeout_s=10.0, clock=time.monotonic):
    return ReplicaBackend(version(**AUTOSCALED), Handle(*results), timeout_s, clock)


def backend_with(predict_many, timeout_s=10.0, **settings):
    handle = Handle()
    handle.predict_many = predict_many
    return ReplicaBackend(version(**settings), handle, timeout_s)


async def test_a_call_returns_the_replicas_prediction():
    assert await backend_of(PREDICTION).predict(WINDOW) == PREDICTION
    assert await backend_of([PREDICTION]).predict_many(WINDOW[None]) == [PREDICTION]


async def test_a_call_to_a_dead_replica_is_retried():
    assert await backend_of(ActorDiedError(), PREDICTION).predict(WINDOW) == PREDICTION


async def test_a_dead_replica_at_every_attempt_is_an_error():
    with pytest.raises(PredictionFailedError, match="its replica died"):
        await backend_of(*[ActorDiedError()] * ATTEMPTS, PREDICTION).predict(WINDOW)


async def test_a_full_queue_is_an_overload():
    with pytest.raises(OverloadedError, match="num_queued_requests=9"):
        await backend_of(BackPressureError(9, 8)).predict(WINDOW)


async def test_no_response_in_time_is_an_overload():
    with pytest.raises(OverloadedError, match=r"no response within 0\.01 s"):
        await backend_of(asyncio.Event(), timeout_s=0.01).predict(WINDOW)


async def test_an_unavailable_deployment_is_still_loading():
    error = DeploymentUnavailableError(DeploymentID(name="toy:1.0.0"))
    with pytest.raises(VersionLoadingError):
        await backend_of(error).predict(WINDOW)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_unforeseen_error_has_no_traceback(wrapped):
    """Over gRPC the error arrives as it was raised, through an actor call it is wrapped."""
    error = ValueError("bad weights")
    error = RayTaskError("predict", "a long traceback", error) if wrapped else error
    expected = r"failed on the request: ValueError\('bad weights'\)"
    with pytest.raises(PredictionFailedError, match=expected):
        await backend_of(error).predict(WINDOW)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_rejection_keeps_its_message(wrapped):
    error = InvalidFeaturesError("features", "6 numbers", "5 numbers")
    error = RayTaskError("predict", "a long traceback", error) if wrapped else error
    with pytest.raises(InvalidFeaturesError, match="expected 6 numbers, received 5 numbers"):
        await backend_of(error).predict(WINDOW)


async def test_messages_stay_within_the_limit_of_grpc():
    """The body has twice as many windows as one message holds, and one more."""
    fits = MAX_MESSAGE_BYTES // WINDOW.nbytes
    windows = np.broadcast_to(WINDOW, (2 * fits + 1, *WINDOW.shape))
    results = [[PREDICTION] * fits, [PREDICTION] * fits, [PREDICTION]]
    assert await backend_of(*results).predict_many(windows) == [PREDICTION] * len(windows)


async def test_a_version_is_loaded_while_it_predicts():
    clock = Clock()
    backend = backend_of(PREDICTION, PredictionFailedError("m", "1", "x"), clock=clock)
    assert not backend.loaded()
    await backend.predict(WINDOW)
    assert backend.loaded()
    clock.now_s += REPLICA_HEARTBEAT_S
    assert not backend.loaded()
    with pytest.raises(PredictionFailedError):
        await backend.predict(WINDOW)
    assert not backend.loaded()


@pytest.mark.parametrize("is_timer_first", [True, False])
async def test_a_stop_of_the_router_does_not_count(is_timer_first):
    """A router that was stopped serves its first requests before a heartbeat has returned."""
    clock = Clock()
    backend = backend_of(PREDICTION, clock=clock)
    await backend.predict(WINDOW)
    backend.turn()
    clock.now_s += 10 * REPLICA_HEARTBEAT_S
    if is_timer_first:
        backend.turn()
    assert backend.loaded()
    for _ in range(round(REPLICA_HEARTBEAT_S / REPLICA_HEARTBEAT_PERIOD_S)):
        clock.now_s += REPLICA_HEARTBEAT_PERIOD_S
        backend.turn()
    assert not backend.loaded()
    backend.close()


async def test_a_version_is_loaded_while_heartbeats_return():
    """The first heartbeat meets a dying replica; the second waits for its replacement."""
    started = asyncio.Event()
    backend = backend_of(ActorDiedError(), started, asyncio.Event())
    watch = asyncio.create_task(backend.watch())
    try:
        await asyncio.sleep(0)
        assert not backend.loaded()
        started.set()
        async with asyncio.timeout(10):
            while not backend.loaded():  # noqa: ASYNC110  no event signals it, as in production
                await asyncio.sleep(0.01)
    finally:
        watch.cancel()


@pytest.mark.parametrize(
    "error", [RuntimeError("Router is not initialized"), asyncio.CancelledError()]
)
async def test_the_watch_survives_every_error_of_ray(error, monkeypatch):
    """Only its own cancellation ends it."""
    monkeypatch.setattr("serve_app.deployments.backends.replicas.REPLICA_HEARTBEAT_PERIOD_S", 0.001)
    backend = ReplicaBackend(version(), Handle(error, error, *[None] * 10_000), 10.0)
    watch = asyncio.create_task(backend.watch())
    async with asyncio.timeout(10):
        while not backend.loaded():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


async def test_a_closed_backend_sends_no_heartbeats(monkeypatch):
    monkeypatch.setattr("serve_app.deployments.backends.replicas.REPLICA_HEARTBEAT_PERIOD_S", 0.001)
    handle = Handle(*[None] * 10_000)
    backend = ReplicaBackend(version(**AUTOSCALED), handle, 10.0)
    backend.start_watch()
    await asyncio.sleep(0.02)
    backend.close()
    await asyncio.sleep(0)
    left = len(handle.address.results)
    assert left < 10_000
    await asyncio.sleep(0.02)
    assert len(handle.address.results) == left


async def test_a_call_carries_the_requests_in_flight():
    class Counter:
        def __init__(self):
            self.in_flight, self.released = [], asyncio.Event()

        async def remote(self, _window, in_flight):
            self.in_flight.append(in_flight)
            await self.released.wait()
            return PREDICTION

    handle = Handle()
    handle.predict = counter = Counter()
    backend = ReplicaBackend(version(**AUTOSCALED), handle, 10.0)
    requests = [asyncio.create_task(backend.predict(WINDOW)) for _ in range(3)]
    await asyncio.sleep(0.01)
    counter.released.set()
    assert await asyncio.gather(*requests) == [PREDICTION] * 3
    await backend.predict(WINDOW)
    assert counter.in_flight == [0, 1, 2, 0]


async def test_waiting_requests_share_the_next_call():
    """A window that fails in it fails alone."""
    recorder = Recorder()
    requests = await submit(backend_with(recorder, num_replicas=1), range(6))
    assert recorder.calls == [[0], [1]]
    recorder.released.set()
    results = await asyncio.gather(*requests)
    assert recorder.calls == [[0], [1], [2, 3, 4, 5]]
    assert results[3] == Failure("NaN")
    predictions = [result for result in results if isinstance(result, Prediction)]
    assert [prediction.expected_return for prediction in predictions] == [0, 1, 2, 4, 5]
    # Both waiting times count: here for a call, there for the model.
    assert results[5].run.took_s == 0.5
    assert 0.25 < results[5].run.waited_s < 5


@pytest.mark.parametrize(("count", "shares"), [(10, [5, 5]), (6, [4, 2]), (3, [3])])
async def test_replicas_share_the_windows_of_a_body(count, shares):
    """They compute their shares at the same time."""
    recorder = Recorder()
    numbers = range(10, 10 + count)
    windows = np.array(numbers, dtype=np.float32).repeat(6).reshape(count, 3, 2)
    request = asyncio.create_task(backend_with(recorder, num_replicas=2).predict_many(windows))
    await asyncio.sleep(0.01)
    assert [len(call) for call in recorder.calls] == shares
    recorder.released.set()
    assert [result.expected_return for result in await request] == list(numbers)


LIMITS = {
    "max_ongoing_requests": 2,
    "max_queued_requests": 1,
    "batching": {"max_batch_size": 2},
}


async def test_requests_beyond_the_limits_are_rejected():
    recorder = Recorder()
    backend = backend_with(recorder, **LIMITS)
    requests = await submit(backend, range(3))
    with pytest.raises(OverloadedError, match="3 requests in flight in this router, at most 3"):
        await backend.predict(WINDOW)
    recorder.released.set()
    await asyncio.gather(*requests)


async def test_bodies_beyond_the_limits_are_rejected():
    recorder = Recorder()
    backend = backend_with(recorder, **LIMITS)
    requests = [asyncio.create_task(backend.predict_many(WINDOW[None])) for _ in range(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError, match="3 requests in flight in this router, at most 3"):
        await backend.predict_many(WINDOW[None])
    recorder.released.set()
    await asyncio.gather(*requests)


async def test_a_lost_call_fails_all_its_requests():
    backend = backend_with(Method(*[ActorDiedError()] * ATTEMPTS))
    requests = [asyncio.create_task(backend.predict(WINDOW)) for _ in range(2)]
    errors = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(error) for error in errors] == [PredictionFailedError] * 2


async def test_a_late_batch_is_an_overload():
    with pytest.raises(OverloadedError, match=r"no response within 0\.01 s"):
        await backend_with(Recorder(), timeout_s=0.01).predict(WINDOW)


async def test_a_wrong_number_of_results_is_an_error():
    backend = backend_with(Method([PREDICTION] * 3, [PREDICTION] * 5), num_replicas=2)
    with pytest.raises(PredictionFailedError, match=r"expected 4 results, received [35]"):
        await backend.predict_many(np.stack([WINDOW] * 8))


class FailingSecond:
    """Fails at the second call while the first is in flight."""

    def __init__(self):
        self.calls, self.was_cancelled = 0, False

    async def remote(self, _windows):
        self.calls += 1
        if self.calls == 2:
            raise ValueError("no")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def test_a_failed_share_cancels_the_others():
    shares = FailingSecond()
    with pytest.raises(PredictionFailedError, match="ValueError"):
        await backend_with(shares, num_replicas=2).predict_many(np.stack([WINDOW] * 8))
    assert shares.was_cancelled
