"""Requests that would be late are rejected and run no model, while health responds."""

import asyncio
import json
import time
from collections import Counter

import aiohttp
import numpy as np

from testkit.metrics import batches, since
from tests.integration.conftest import NAME

LATE = 20
WINDOW = np.zeros((60, 110), dtype="<f4").tobytes()
HEALTH = ("/api/ml/health", "/health/live", "/health/ready")


async def test_late_requests(cluster):
    """Each request with 1 ms is rejected with our JSON and Retry-After, and runs no model."""
    model = f"{NAME}:1.0.0"
    await asyncio.sleep(cluster.metrics_age_s + 1)  # until earlier requests are exported
    before = batches(cluster, model)

    async def post(session, deadline_ms):
        headers = {"Content-Type": "application/octet-stream", "X-Deadline-Ms": deadline_ms}
        query = {"symbol": "EURUSD", "shape": "60,110"}
        async with session.post(
            "/api/ml/predict", params=query, data=WINDOW, headers=headers
        ) as answer:
            return answer.status, answer.headers.get("Retry-After"), json.loads(await answer.read())

    async with aiohttp.ClientSession(cluster.url) as session:
        late = asyncio.gather(*(post(session, "0.001") for _ in range(LATE)))
        for path in HEALTH:
            async with session.get(path) as answer:
                assert answer.status == 200
        rejected = Counter(
            (status, retry_after, content["error"]["code"])
            for status, retry_after, content in await late
        )
        assert (await post(session, "20000"))[0] == 200
    assert rejected == {(504, "1", "deadline_exceeded"): LATE}
    deadline_s = time.monotonic() + 60
    while (seen := since(before, batches(cluster, model))).requests < 1:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.5)
    assert seen.requests == 1
