"""Callers of predictions, reporters of outcomes, and an observer of health.

Callers send predictions without retries; reporters send an outcome until it is acknowledged.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

from benchmarks.serving import window

CALLERS = 8
REPORTERS = 8
PAUSE_S = 0.05
RETRY_S = 0.5
HEALTH_PERIOD_S = 0.05
LIMIT_S = 60.0
"""Longest wait of a call; a client waits as long for an outcome."""


@dataclass(frozen=True)
class Call:
    """One request as its caller saw it."""

    began_s: float
    took_s: float
    result: str
    """`ok`, or the failure."""


@dataclass
class Traffic:
    """What the callers, the reporters and the observer of health have seen so far."""

    predictions: list[Call] = field(default_factory=list)
    outcomes: list[Call] = field(default_factory=list)
    health: list[tuple[float, str]] = field(default_factory=list)
    """The time and the status of each response."""
    answered: set[str] = field(default_factory=set)
    """The ids of the predictions that were returned."""
    acknowledged: dict[str, float] = field(default_factory=dict)
    """The outcomes that the server has accepted."""
    pending: set[str] = field(default_factory=set)
    """The predictions whose outcomes are not acknowledged yet."""


class Callers:
    """Keeps the callers running while the context is open."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_done = False
        self._newest: asyncio.LifoQueue[str] = asyncio.LifoQueue()
        self._random = np.random.default_rng(0)
        self.traffic = Traffic()

    async def __aenter__(self) -> Traffic:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S))
        self._tasks = [
            *(asyncio.create_task(self._predict()) for _ in range(CALLERS)),
            *(asyncio.create_task(self._report()) for _ in range(REPORTERS)),
            asyncio.create_task(self._observe()),
        ]
        return self.traffic

    async def __aexit__(self, *_: object) -> None:
        self._is_done = True
        await asyncio.wait(self._tasks, timeout=LIMIT_S + 5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _predict(self) -> None:
        while not self._is_done:
            call, document = await self._post("predict", _BODY)
            self.traffic.predictions.append(call)
            if call.result == "ok":
                self.traffic.answered.add(document["prediction_id"])
                self._newest.put_nowait(document["prediction_id"])
            await asyncio.sleep(PAUSE_S)

    async def _report(self) -> None:
        while not self._is_done:
            try:
                prediction_id = await asyncio.wait_for(self._newest.get(), 1.0)
            except TimeoutError:
                continue
            market_return = self._random.uniform(-1, 1)
            outcome = {"prediction_id": prediction_id, "market_return": market_return}
            self.traffic.pending.add(prediction_id)
            while not self._is_done:
                call, document = await self._post("outcomes", json.dumps(outcome).encode())
                if call.result == "ok" and document["accepted"] + document["duplicates"] != 1:
                    call = Call(call.began_s, call.took_s, json.dumps(document))
                self.traffic.outcomes.append(call)
                if call.result == "ok":
                    self.traffic.acknowledged[prediction_id] = market_return
                    self.traffic.pending.remove(prediction_id)
                    break
                await asyncio.sleep(0.5)
            await asyncio.sleep(PAUSE_S)

    async def _observe(self) -> None:
        while not self._is_done:
            at_s = time.monotonic()
            try:
                async with self._session.get(f"{self._url}/api/ml/health") as response:
                    status = (await response.json())["status"]
            except (aiohttp.ClientError, TimeoutError) as error:
                status = type(error).__name__
            self.traffic.health.append((at_s, status))
            await asyncio.sleep(HEALTH_PERIOD_S)

    async def _post(self, endpoint: str, body: bytes) -> tuple[Call, dict[str, Any]]:
        began_s = time.monotonic()
        document: dict[str, Any] = {}
        try:
            async with self._session.post(
                f"{self._url}/api/ml/{endpoint}",
                data=body,
                headers={"Content-Type": "application/json"},
            ) as response:
                text = await response.text()
                result = "ok" if response.status == 200 else f"{response.status} {text}"
                document = json.loads(text) if response.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError) as error:
            result = type(error).__name__
        return Call(began_s, time.monotonic() - began_s, result), document


_BODY = json.dumps({"symbol": "EURUSD", "features": window()}).encode()
