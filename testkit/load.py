"""Continuous load on a server during an operation, and its failures and latencies."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np


@dataclass
class Load:
    """Requests without retries; each succeeds or counts as failed."""

    began_s: list[float] = field(default_factory=list)
    """The start of each request, by `time.monotonic`."""
    took_ms: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    """The number of responses by version."""
    failures: list[str] = field(default_factory=list)

    def percentile_ms(self, percent: float, until_s: float = math.inf) -> float:
        """Return a percentile of the latencies of the requests that began before `until_s`."""
        latencies = [
            took for began, took in zip(self.began_s, self.took_ms, strict=True) if began < until_s
        ]
        return float(np.percentile(latencies, percent))

    def longest_ms(self, from_s: float) -> float:
        """Return the longest latency of the requests that ended after `from_s`."""
        return max(
            took
            for began, took in zip(self.began_s, self.took_ms, strict=True)
            if began + took / 1e3 >= from_s
        )


@asynccontextmanager
async def load(
    url: str, features: list[float], concurrency: int = 8, pause_s: float = 0.0, **fields: Any
) -> AsyncIterator[Load]:
    """Keep `concurrency` callers sending requests, each with a pause of `pause_s` between requests.

    Additional `fields` of the request have the endpoint's names.
    """
    body = json.dumps({"symbol": "EURUSD", "features": features, **fields}).encode()
    # The deadline of a bot would turn a slow response of a busy machine into a failure.
    headers = {"Content-Type": "application/json", "X-Deadline-Ms": "30000"}
    result, done = Load(), asyncio.Event()

    async def ask(session: aiohttp.ClientSession) -> None:
        while not done.is_set():
            began_s = time.monotonic()
            try:
                async with session.post(
                    f"{url}/api/ml/predict", data=body, headers=headers
                ) as answer:
                    text = await answer.text()
                    if answer.status == 200:
                        result.versions[json.loads(text)["model_version"]] += 1
                    else:
                        result.failures.append(f"{answer.status} {text[:200]}")
            except (aiohttp.ClientError, TimeoutError) as error:
                result.failures.append(repr(error))
            result.began_s.append(began_s)
            result.took_ms.append((time.monotonic() - began_s) * 1e3)
            if pause_s:
                await asyncio.sleep(pause_s)

    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        askers = [asyncio.create_task(ask(session)) for _ in range(concurrency)]
        try:
            yield result
        finally:
            done.set()
            await asyncio.gather(*askers)
