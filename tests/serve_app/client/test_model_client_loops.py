"""One client in several event loops, threads and processes."""

import asyncio
import copy
import gc
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve_app.client import ModelClient, get_model_client
from testkit.fake_server import PREDICT, Reply, prediction, server_in_thread

THREADS = 8


@pytest.fixture
def url():
    """The URL of a server whose loop is not the test's."""
    with server_in_thread(PREDICT, Reply(prediction())) as url:
        yield url


def in_threads(work):
    """Return the results of `work` in several threads at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda _: work(), range(THREADS)))


def test_loop_per_call(url):
    """Synchronous bots in several threads share a client, each call in a loop of its own."""
    client = ModelClient(url, timeout_s=10)

    def bot():
        return [asyncio.run(client.predict("BTCUSDT", [1.0])) for _ in range(10)]

    assert in_threads(bot) == [[prediction()] * 10] * THREADS


def test_loop_per_thread(url):
    """Loops that stay open share a client: each keeps its connections until its own cleanup."""
    client = ModelClient(url, timeout_s=10)

    async def bot():
        responses = []
        for _ in range(4):
            responses += await asyncio.gather(*[client.predict("X", [1.0]) for _ in range(3)])
            await client.cleanup()
        return responses

    assert in_threads(lambda: asyncio.run(bot())) == [[prediction()] * 12] * THREADS


def test_end_of_a_loop_closes_its_connections(url):
    """`asyncio.run` of a single call leaves no connection behind, which would be a warning."""
    client = ModelClient(url, timeout_s=10)
    assert asyncio.run(client.predict("BTCUSDT", [1.0])) == prediction()
    del client
    gc.collect()


def test_loop_that_was_only_closed(url):
    """A loop that a framework closes without its generators does not disturb the next ones."""
    client = ModelClient(url, timeout_s=10)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.initialize())  # opens no connection
    loop.close()
    assert asyncio.run(client.predict("BTCUSDT", [1.0])) == prediction()


def test_fork(url):
    """A forked process opens its own connections, and the parent's stay intact."""
    client = ModelClient(url, timeout_s=10)
    with asyncio.Runner() as runner:
        assert runner.run(client.predict("BTCUSDT", [1.0])) == prediction()
        child = os.fork()
        if child == 0:
            response = asyncio.run(client.predict("BTCUSDT", [1.0]))
            os._exit(0 if response == prediction() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert runner.run(client.predict("BTCUSDT", [1.0])) == prediction()


@pytest.mark.parametrize("copied", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy])
async def test_copy(server, copied):
    """A client that another process receives has the same parameters and its own connections."""
    server.script(PREDICT, Reply(prediction()))
    async with ModelClient(server.url, timeout_s=5, token="ts_given") as client:
        assert await client.predict("BTCUSDT", [1.0]) == prediction()
        async with copied(client) as other:
            assert other.server_url == client.server_url
            assert await other.predict("BTCUSDT", [1.0]) == prediction()
    assert server.authorizations == ["Bearer ts_given"] * 2


def test_pickled_client_omits_the_environment(monkeypatch):
    """The token of the environment is not part of a pickled client."""
    monkeypatch.setenv("TRADESERVE_TOKEN", "ts_secret-of-a-test")
    assert b"ts_secret" not in pickle.dumps(ModelClient())


def test_one_client_per_url():
    """Threads that arrive together receive the same client."""
    assert len(set(in_threads(lambda: get_model_client("http://localhost:9")))) == 1
