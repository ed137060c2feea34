"""What a caller learns when a call to a replica goes wrong; no cluster needed."""

import asyncio
import contextlib
import time
from functools import partial

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.deployments.backends.replicas import (
    ATTEMPTS,
    MAX_MESSAGE_BYTES,
    ReplicaBackend,
)
from serve_app.deployments.channel.server import Listener
from serve_app.errors import (
    InvalidFeaturesError,
    OverloadedError,
    PredictionFailedError,
    VersionLoadingError,
)
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from serve_app.timeouts import REPLICA_HEARTBEAT_S
from testkit.models import metadata

ANSWER = Prediction(1, 0.5, 0.01)
WINDOW = np.zeros((3, 2), dtype=np.float32)


class Method:
    """A handle's method that gives, or raises, one result a call."""

    def __init__(self, *results):
        self.results = list(results)

    async def remote(self, *_window):
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        if isinstance(result, asyncio.Event):
            await result.wait()
        return result


class Handle:
    def __init__(self, *results):
        self.predict = self.predict_many = self.address = Method(*results)


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


SCALED = {"autoscaling": {"max_replicas": 2}}
"""Where Serve counts calls, each request is a call of its own."""


def version(**settings):
    return ServedVersion(
        metadata=metadata(), settings=VersionSettings(model="toy", version="1.0.0", **settings)
    )


def backend(*results, timeout_s=10.0, clock=time.monotonic):
    return ReplicaBackend(version(**SCALED), Handle(*results), timeout_s, clock)


async def test_a_call_gives_the_replicas_answer():
    assert await backend(ANSWER).predict(WINDOW) == ANSWER
    assert await backend([ANSWER]).predict_many(WINDOW[None]) == [ANSWER]


async def test_a_request_that_met_a_dying_replica_is_sent_again():
    assert await backend(ActorDiedError(), ANSWER).predict(WINDOW) == ANSWER


async def test_a_death_at_every_attempt_is_reported():
    with pytest.raises(PredictionFailedError, match="its replica died"):
        await backend(*[ActorDiedError()] * ATTEMPTS, ANSWER).predict(WINDOW)


async def test_a_full_queue_is_an_overload():
    with pytest.raises(OverloadedError, match="num_queued_requests=9"):
        await backend(BackPressureError(9, 8)).predict(WINDOW)


async def test_no_answer_in_time_is_an_overload():
    with pytest.raises(OverloadedError, match=r"no answer within 0\.01 s"):
        await backend(asyncio.Event(), timeout_s=0.01).predict(WINDOW)


async def test_a_deployment_that_is_not_available_is_still_loading():
    error = DeploymentUnavailableError(DeploymentID(name="toy:1.0.0"))
    with pytest.raises(VersionLoadingError):
        await backend(error).predict(WINDOW)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_the_replicas_own_error_comes_without_its_traceback(wrapped):
    """Over gRPC it comes as it is, through an actor call it is wrapped."""
    error = ValueError("bad weights")
    error = RayTaskError("predict", "a long traceback", error) if wrapped else error
    expected = r"failed to answer: ValueError\('bad weights'\)"
    with pytest.raises(PredictionFailedError, match=expected):
        await backend(error).predict(WINDOW)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_what_the_replica_refuses_is_refused_in_its_own_words(wrapped):
    error = InvalidFeaturesError("features", "6 numbers", "5 numbers")
    error = RayTaskError("predict", "a long traceback", error) if wrapped else error
    with pytest.raises(InvalidFeaturesError, match="expected 6 numbers, received 5 numbers"):
        await backend(error).predict(WINDOW)


async def test_many_windows_travel_in_messages_that_grpc_takes():
    """Twice as many bytes as one message holds, and one window more."""
    fits = MAX_MESSAGE_BYTES // WINDOW.nbytes
    windows = np.broadcast_to(WINDOW, (2 * fits + 1, *WINDOW.shape))
    answers = [[ANSWER] * fits, [ANSWER] * fits, [ANSWER]]
    assert await backend(*answers).predict_many(windows) == [ANSWER] * len(windows)


async def test_a_version_is_loaded_while_it_answers_predictions():
    clock = Clock()
    under_test = backend(ANSWER, PredictionFailedError("m", "1", "x"), clock=clock)
    assert not under_test.loaded()
    await under_test.predict(WINDOW)
    assert under_test.loaded()
    clock.now_s += REPLICA_HEARTBEAT_S
    assert not under_test.loaded()
    with pytest.raises(PredictionFailedError):
        await under_test.predict(WINDOW)
    assert not under_test.loaded()


async def test_a_version_without_requests_is_loaded_while_it_answers_pings():
    """The first ping meets a dying replica; the second waits until the new one is there."""
    started = asyncio.Event()
    under_test = backend(ActorDiedError(), started, asyncio.Event())
    watch = asyncio.create_task(under_test.watch())
    try:
        await asyncio.sleep(0)
        assert not under_test.loaded()
        started.set()
        async with asyncio.timeout(10):
            while not under_test.loaded():  # noqa: ASYNC110  nothing tells, as in production
                await asyncio.sleep(0.01)
    finally:
        watch.cancel()


async def test_a_replica_is_told_how_many_others_are_under_way():
    class Noting(Method):
        def __init__(self):
            super().__init__()
            self.company, self.gate = [], asyncio.Event()

        async def remote(self, _window, company):
            self.company.append(company)
            await self.gate.wait()
            return ANSWER

    handle = Handle()
    handle.predict = noting = Noting()
    under_test = ReplicaBackend(version(**SCALED), handle, 10.0)
    asked = [asyncio.create_task(under_test.predict(WINDOW)) for _ in range(3)]
    await asyncio.sleep(0.01)
    noting.gate.set()
    assert await asyncio.gather(*asked) == [ANSWER] * 3
    await under_test.predict(WINDOW)
    assert noting.company == [0, 1, 2, 0]


class Gathering(Method):
    """Notes the windows of each call, and answers when it may."""

    def __init__(self):
        super().__init__()
        self.calls, self.may = [], asyncio.Event()

    async def remote(self, windows):
        self.calls.append(windows[:, 0, 0].tolist())
        await self.may.wait()
        return [
            Failure("NaN") if first == 3 else Prediction(1, 0.5, float(first), run=Run(0.25, 0.5))
            for first in windows[:, 0, 0]
        ]


async def ask(under_test, numbers):
    asked = []
    for number in numbers:
        window = np.full((3, 2), number, dtype=np.float32)
        asked.append(asyncio.create_task(under_test.predict(window)))
        await asyncio.sleep(0.001)
    return asked


async def test_what_comes_while_calls_are_under_way_shares_the_next_and_a_bad_one_fails_alone():
    handle = Handle()
    handle.predict_many = calls = Gathering()
    under_test = ReplicaBackend(version(num_replicas=1), handle, 10.0)
    asked = await ask(under_test, range(6))
    assert calls.calls == [[0], [1]]
    calls.may.set()
    answers = await asyncio.gather(*asked)
    assert calls.calls == [[0], [1], [2, 3, 4, 5]]
    assert answers[3] == Failure("NaN")
    assert [each.expected_return for each in answers if isinstance(each, Prediction)] == [
        0,
        1,
        2,
        4,
        5,
    ]
    # Both waits count: here for a place, there for the model.
    assert answers[5].run.took_s == 0.5
    assert 0.25 < answers[5].run.waited_s < 5


@pytest.mark.parametrize(("count", "shares"), [(10, [5, 5]), (6, [4, 2]), (3, [3])])
async def test_replicas_share_the_windows_of_a_body_and_work_at_the_same_time(count, shares):
    handle = Handle()
    handle.predict_many = calls = Gathering()
    under_test = ReplicaBackend(version(num_replicas=2), handle, 10.0)
    numbers = range(10, 10 + count)
    windows = np.array(numbers, dtype=np.float32).repeat(6).reshape(count, 3, 2)
    asked = asyncio.create_task(under_test.predict_many(windows))
    await asyncio.sleep(0.01)
    assert [len(each) for each in calls.calls] == shares
    calls.may.set()
    assert [each.expected_return for each in await asked] == list(numbers)


async def test_more_than_the_limits_allow_is_refused_at_once():
    handle = Handle()
    handle.predict_many = calls = Gathering()
    limits = {"max_ongoing_requests": 2, "max_queued_requests": 1}
    settings = version(**limits, batching={"max_batch_size": 2})
    under_test = ReplicaBackend(settings, handle, 10.0)
    asked = await ask(under_test, range(3))
    with pytest.raises(OverloadedError, match="3 requests in work in this router, at most 3"):
        await under_test.predict(WINDOW)
    calls.may.set()
    await asyncio.gather(*asked)


async def test_a_call_that_is_lost_fails_for_all_of_its_requests_and_late_ones_are_overload():
    handle = Handle()
    handle.predict_many = Method(*[ActorDiedError()] * ATTEMPTS)
    under_test = ReplicaBackend(version(), handle, 10.0)
    both = [asyncio.create_task(under_test.predict(WINDOW)) for _ in range(2)]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in answers] == [PredictionFailedError] * 2
    handle.predict_many = Gathering()
    under_test = ReplicaBackend(version(), handle, 0.01)
    with pytest.raises(OverloadedError, match=r"no answer within 0\.01 s"):
        await under_test.predict(WINDOW)


class Replicas:
    """Replicas that listen, and the handle of their deployment, which counts what it is asked."""

    def __init__(self, listeners, addresses):
        self.listeners, self.addresses = listeners, addresses
        self.by_handle = 0
        self.predict = self.predict_many = self
        self.address = Method(*[addresses[0]] * 1000)

    async def remote(self, windows):
        self.by_handle += 1
        return [ANSWER] * len(windows)

    def broadcast(self, method):
        assert method == "address"
        return self

    async def results_async(self, *, timeout_s, return_exceptions):
        assert return_exceptions
        return [*self.addresses, ActorDiedError()]


@contextlib.asynccontextmanager
async def replicas(count, answer):
    """`answer` is what replica number `index` does with windows."""
    listeners = [Listener(metadata(), partial(answer, index), 8) for index in range(count)]
    addresses = [await each.open(str(index), "127.0.0.1") for index, each in enumerate(listeners)]
    handle = Replicas(listeners, addresses)
    try:
        yield handle
    finally:
        for each in listeners:
            await each.close()


@contextlib.asynccontextmanager
async def watching(handle, **settings):
    """A backend that has found all replicas."""
    under_test = ReplicaBackend(version(**settings), handle, 10.0)
    under_test.start_watch()
    try:
        async with asyncio.timeout(10):
            while not all(each._connections for each in handle.listeners):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            while under_test._channels.least_busy() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        yield under_test
    finally:
        under_test.close()


async def test_what_is_gathered_goes_by_the_channels_of_all_replicas_and_not_by_the_handle():
    asked = []

    async def answer(index, windows):
        asked.append(index)
        return [Prediction(1, 0.5, float(each[0, 0]), Run(0.25, 0.5)) for each in windows]

    async with (
        replicas(2, answer) as handle,
        watching(handle, num_replicas=2) as under_test,
    ):
        asking = await ask(under_test, range(8))
        answers = await asyncio.gather(*asking)
        batch = await under_test.predict_many(np.stack([WINDOW] * 3))
    assert [each.expected_return for each in answers] == list(range(8))
    assert len(batch) == 3
    assert handle.by_handle == 0
    assert set(asked) == {0, 1}


async def test_a_batch_whose_replica_dies_under_way_is_answered_by_another():
    asked = []

    async def answer(index, windows):
        asked.append(index)
        if len(asked) == 1:
            for connection in list(handle.listeners[index]._connections):
                connection.abort()
            await asyncio.Event().wait()
        return [ANSWER] * len(windows)

    async with (
        replicas(2, answer) as handle,
        watching(handle, num_replicas=2) as under_test,
    ):
        assert await under_test.predict(WINDOW) == ANSWER
    assert len(set(asked)) == 2
    assert handle.by_handle == 0


async def test_without_a_living_channel_serves_handle_answers():
    async def die(index, _):
        for connection in list(handle.listeners[index]._connections):
            connection.abort()
        await asyncio.Event().wait()

    async with replicas(1, die) as handle, watching(handle) as under_test:
        assert await under_test.predict(WINDOW) == ANSWER
        assert handle.by_handle == 1


async def test_the_last_attempt_goes_by_the_handle_though_channels_are_left():
    asked = []

    async def die(index, _):
        asked.append(index)
        for connection in list(handle.listeners[index]._connections):
            connection.abort()
        await asyncio.Event().wait()

    async with (
        replicas(4, die) as handle,
        watching(handle, num_replicas=4) as under_test,
    ):
        assert await under_test.predict(WINDOW) == ANSWER
        assert len(asked) == ATTEMPTS - 1
        assert handle.by_handle == 1


async def test_where_serve_scales_by_calls_each_goes_by_the_handle():
    async def answer(_, windows):
        return [Prediction(2, 0.5, None)] * len(windows)

    async with replicas(1, answer) as handle:
        handle.address = Method(*[None] * 1000)
        handle.predict = Method(ANSWER)
        under_test = ReplicaBackend(version(**SCALED), handle, 10.0)
        under_test.start_watch()
        await asyncio.sleep(0.02)
        assert under_test.loaded()
        assert await under_test.predict(WINDOW) == ANSWER
        assert await under_test.predict_many(WINDOW[None]) == [ANSWER]
        assert handle.by_handle == 1
        under_test.close()


async def test_more_batches_than_the_limits_allow_are_refused_too():
    handle = Handle()
    handle.predict_many = calls = Gathering()
    limits = {"max_ongoing_requests": 2, "max_queued_requests": 1}
    under_test = ReplicaBackend(version(**limits, batching={"max_batch_size": 2}), handle, 10.0)
    asked = [asyncio.create_task(under_test.predict_many(WINDOW[None])) for _ in range(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError, match="3 requests in work in this router, at most 3"):
        await under_test.predict_many(WINDOW[None])
    calls.may.set()
    await asyncio.gather(*asked)


@pytest.mark.parametrize(
    "error", [RuntimeError("Router is not initialized"), asyncio.CancelledError()]
)
async def test_the_watch_goes_on_whatever_ray_raises(error, monkeypatch):
    monkeypatch.setattr("serve_app.deployments.backends.replicas.REPLICA_PING_PERIOD_S", 0.001)
    handle = Handle()
    handle.address = Raising(error, error, None)
    under_test = ReplicaBackend(version(), handle, 10.0)
    under_test.start_watch()
    async with asyncio.timeout(10):
        while not under_test.loaded():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    under_test.close()
    with pytest.raises(asyncio.CancelledError):
        await under_test._watch


class Raising(Method):
    """Like Method, of any exception, and the last result for ever."""

    async def remote(self):
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, BaseException):
            raise result
        return result


async def test_more_or_fewer_results_than_windows_are_no_answer():
    handle = Handle()
    handle.predict_many = Method([ANSWER] * 3, [ANSWER] * 5)
    under_test = ReplicaBackend(version(num_replicas=2), handle, 10.0)
    with pytest.raises(PredictionFailedError, match=r"expected 4 results, received [35]"):
        await under_test.predict_many(np.stack([WINDOW] * 8))


async def test_where_a_share_of_a_body_fails_the_others_are_given_up():
    handle = Handle()
    handle.predict_many = Method()
    handle.predict_many.remote = shares = Shares()
    under_test = ReplicaBackend(version(num_replicas=2), handle, 10.0)
    with pytest.raises(PredictionFailedError, match="ValueError"):
        await under_test.predict_many(np.stack([WINDOW] * 8))
    assert shares.was_given_up


class Shares:
    """Fails at the second share while the first is under way."""

    def __init__(self):
        self.calls, self.was_given_up = 0, False

    async def __call__(self, _windows):
        self.calls += 1
        if self.calls == 2:
            raise ValueError("no")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_given_up = True
            raise
