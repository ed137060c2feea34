"""The backend of a version in replicas: calls through channels, and Serve's handle without one."""

import asyncio
import contextlib
from functools import partial

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from serve_app.data_plane.decoding import Prediction, Run
from serve_app.deployments.backends.replicas import ATTEMPTS, ReplicaBackend
from serve_app.deployments.channel.server import ChannelServer
from testkit.models import metadata
from tests.serve_app.deployments.backends.replica_handles import (
    AUTOSCALED,
    PREDICTION,
    WINDOW,
    Method,
    submit,
    version,
)


class Replicas:
    """Replicas that listen, and the handle of their deployment, which counts its calls."""

    def __init__(self, servers, addresses):
        self.servers, self.addresses = servers, addresses
        self.handle_calls = 0
        self.predict = self.predict_many = self
        self.address = Method(*[addresses[0]] * 1000)

    async def remote(self, windows):
        self.handle_calls += 1
        return [PREDICTION] * len(windows)

    def broadcast(self, method):
        assert method == "address"
        return self

    async def results_async(self, *, timeout_s, return_exceptions):
        assert return_exceptions
        return [*self.addresses, ActorDiedError()]


@contextlib.asynccontextmanager
async def listening(count, predict_many):
    """Replicas of which number `index` computes `predict_many(index, windows)`."""
    servers = [ChannelServer(metadata(), partial(predict_many, index), 8) for index in range(count)]
    addresses = [await server.open(str(index), "127.0.0.1") for index, server in enumerate(servers)]
    try:
        yield Replicas(servers, addresses)
    finally:
        for server in servers:
            await server.close()


@contextlib.asynccontextmanager
async def watching(replicas, **settings):
    """A backend with a channel to each of the replicas."""
    backend = ReplicaBackend(version(**settings), replicas, 10.0)
    backend.start_watch()
    try:
        async with asyncio.timeout(10):
            while len(backend.channels.available()) < len(replicas.servers):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        yield backend
    finally:
        backend.close()


async def test_batches_use_the_channels_of_all_replicas():
    called = []

    async def predict_many(index, windows):
        called.append(index)
        return [Prediction(1, 0.5, float(window[0, 0]), Run(0.25, 0.5)) for window in windows]

    async with (
        listening(2, predict_many) as replicas,
        watching(replicas, num_replicas=2) as backend,
    ):
        results = await asyncio.gather(*await submit(backend, range(8)))
        body = await backend.predict_many(np.stack([WINDOW] * 3))
    assert [result.expected_return for result in results] == list(range(8))
    assert len(body) == 3
    assert replicas.handle_calls == 0
    assert set(called) == {0, 1}


async def test_a_lost_batch_is_sent_to_another_replica():
    called = []

    async def predict_many(index, windows):
        called.append(index)
        if len(called) == 1:
            replicas.servers[index].abort_connections()
            await asyncio.Event().wait()
        return [PREDICTION] * len(windows)

    async with (
        listening(2, predict_many) as replicas,
        watching(replicas, num_replicas=2) as backend,
    ):
        assert await backend.predict(WINDOW) == PREDICTION
    assert len(set(called)) == 2
    assert replicas.handle_calls == 0


@pytest.mark.parametrize("count", [1, 4])
async def test_the_handle_serves_what_channels_lose(count):
    """The last attempt uses it even if channels are left."""
    called = []

    async def die(index, _):
        called.append(index)
        replicas.servers[index].abort_connections()
        await asyncio.Event().wait()

    async with listening(count, die) as replicas, watching(replicas, num_replicas=count) as backend:
        assert await backend.predict(WINDOW) == PREDICTION
        assert len(called) == min(count, ATTEMPTS - 1)
        assert replicas.handle_calls == 1


async def test_an_autoscaled_version_uses_the_handle():
    """Serve scales by the calls that it counts there."""

    async def predict_many(_, windows):
        return [Prediction(2, 0.5, None)] * len(windows)

    async with listening(1, predict_many) as replicas:
        replicas.address = Method(*[None] * 1000)
        replicas.predict = Method(PREDICTION)
        backend = ReplicaBackend(version(**AUTOSCALED), replicas, 10.0)
        backend.start_watch()
        await asyncio.sleep(0.02)
        assert backend.loaded()
        assert await backend.predict(WINDOW) == PREDICTION
        assert await backend.predict_many(WINDOW[None]) == [PREDICTION]
        assert replicas.handle_calls == 1
        backend.close()
