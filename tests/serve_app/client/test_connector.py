"""The time left that a request states."""

import numpy as np
import pytest

from serve_app.client import ModelClient
from testkit.fake_server import (
    BATCH,
    HEALTH,
    PREDICT,
    RELOAD,
    Disconnect,
    Reply,
    batch_of,
    prediction,
)

WINDOW = np.zeros((2, 3))


async def test_prediction(server):
    """A prediction states at most its timeout, and a retry of it less."""
    server.script(PREDICT, Disconnect(), Reply(prediction()))
    async with ModelClient(server.url, timeout_s=30) as client:
        assert await client.predict("BTCUSDT", WINDOW) == prediction()
    first_ms, second_ms = map(int, server.deadlines)
    assert 30_000 >= first_ms > second_ms > 0


async def test_bodies_of_batch(server):
    """Each body of a batch states what is left for the whole batch."""
    server.script(BATCH, batch_of)
    async with ModelClient(server.url, batch_timeout_s=30) as client:
        requests = [{"symbol": "BTCUSDT", "features": WINDOW}] * 3
        assert len(await client.batch_predict(requests, max_batch_size=2)) == 3
    first_ms, second_ms = map(int, server.deadlines)
    assert 30_000 >= first_ms >= second_ms > 0


@pytest.mark.parametrize("path", [HEALTH, RELOAD])
async def test_other_calls(server, path):
    """Commands and health state none: the server's own limits apply."""
    server.script(path, Reply({"status": "success" if path == RELOAD else "healthy"}))
    async with ModelClient(server.url, timeout_s=30) as client:
        assert await (client.health_check() if path == HEALTH else client.reload_model("net"))
    assert server.deadlines == [None]
