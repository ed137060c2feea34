"""Concurrent requests run as one batch, with unchanged outputs."""

import asyncio
import time

import aiohttp
import numpy as np
import pytest

from serve_app.client import ModelClient
from testkit.metrics import batches, calls_by_handle, since
from testkit.models import SHAPE, batch_telling_onnx
from tests.integration.conftest import NAME, serving_args

CALLERS = 64
EACH = 20
ALONE = 500
"""Requests one by one: more than twice the pings until they are exported."""
MODEL = f"{NAME}:1.0.0"
EXPORT_TIMEOUT_S = 60.0
TELLER = "teller"
MARKED = 2000.0
"""First number of a window for which that model gives NaN."""


@pytest.fixture
async def client(cluster):
    async with ModelClient(
        cluster.url, raise_errors=True, timeout_s=20, batch_timeout_s=20
    ) as client:
        yield client


async def test_batched_equals_single(client, cluster):
    """In FP32, batched predictions equal single ones, and the exported mean batch is above 4."""
    windows = np.random.default_rng(1).standard_normal((CALLERS, 60, 110)).astype(np.float32)
    alone = [await client.predict("EURUSD", window) for window in windows]
    await asyncio.sleep(cluster.metrics_age_s + 1)
    before = batches(cluster, MODEL)

    async def ask(index):
        return [await client.predict("EURUSD", windows[index]) for _ in range(EACH)]

    together = await asyncio.gather(*(ask(index) for index in range(CALLERS)))

    for answers, one in zip(together, alone, strict=True):
        for answer in answers:
            assert answer["prediction"]["direction"] == one["prediction"]["direction"]
            for key in ("confidence", "expected_return"):
                assert answer["prediction"][key] == pytest.approx(one["prediction"][key], abs=1e-5)
    assert (await exported_since(cluster, before, CALLERS * EACH)).mean > 4


async def exported_since(cluster, before, requests):
    """Return the runs after `before` once these requests are exported, and no others."""
    deadline_s = time.monotonic() + EXPORT_TIMEOUT_S
    seen = None
    while time.monotonic() < deadline_s:
        seen = since(before, batches(cluster, MODEL))
        if seen.requests == requests:
            return seen
        await asyncio.sleep(1)
    raise AssertionError(f"{requests} requests expected in the metric, {seen}")


async def test_requests_use_channel(client, cluster):
    """Requests reach a replica over the router's channel; Serve's handle carries only pings."""
    window = np.zeros((60, 110), dtype=np.float32)
    await asyncio.sleep(cluster.metrics_age_s + 1)
    runs, calls = batches(cluster, MODEL), calls_by_handle(cluster, MODEL)
    for _ in range(ALONE):
        await client.predict("EURUSD", window)
    assert (await exported_since(cluster, runs, ALONE)).runs == ALONE
    await asyncio.sleep(cluster.metrics_age_s + 1)
    assert 0 < calls_by_handle(cluster, MODEL) - calls < ALONE / 2


@pytest.fixture
async def teller(cluster, registry, folder):
    """Serve a version that waits for a batch and outputs the batch size as its expected_return."""
    path = folder / "teller.onnx"
    path.write_bytes(batch_telling_onnx())
    await registry.register_model(TELLER, "1.0.0", path, "Teller", input_shape=SHAPE)
    declared = serving_args()["versions"]
    waiting = {
        "model": TELLER,
        "version": "1.0.0",
        "batching": {"max_batch_size": 8, "batch_wait_timeout_s": 0.5},
    }
    loaded = {f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")}
    try:
        args = serving_args(versions=[*declared, waiting], default_model=NAME)
        await asyncio.to_thread(cluster.deploy, args)
        await asyncio.to_thread(cluster.wait_until_serving, {*loaded, f"{TELLER}:1.0.0"})
        yield
    finally:
        await asyncio.to_thread(cluster.deploy, serving_args())
        await asyncio.to_thread(cluster.wait_until_serving, loaded)
        await registry.delete_model(TELLER, "1.0.0")


async def test_failures_within_batch(cluster, teller):
    """In a run of eight windows, the one with a NaN output fails alone, and so does a cancelled
    one."""
    windows = [np.full(SHAPE, float(number)).ravel().tolist() for number in range(8)]
    windows[3][0] = MARKED

    async def ask(session, features):
        body = {"symbol": "EURUSD", "features": features}
        named = {"model_name": TELLER, "model_version": "1.0.0"}
        async with session.post(f"{cluster.url}/api/ml/predict", json={**body, **named}) as answer:
            return answer.status, await answer.json()

    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(ask(session, window) for window in windows))

    assert [status for status, _ in answers] == [200, 200, 200, 500, 200, 200, 200, 200]
    good = [answer for status, answer in answers if status == 200]
    assert {answer["prediction"]["expected_return"] for answer in good} == {8.0}
    assert "NaN" in answers[3][1]["error"]["message"]

    async with aiohttp.ClientSession() as hasty, aiohttp.ClientSession() as patient:
        first = asyncio.create_task(ask(hasty, windows[0]))
        await asyncio.sleep(0.1)  # it arrives first and waits for the others
        others = [
            asyncio.create_task(ask(patient, windows[number])) for number in (1, 2, 4, 5, 6, 7)
        ]
        await asyncio.sleep(0.1)
        first.cancel()
        assert [status for status, _ in await asyncio.gather(*others)] == [200] * 6
