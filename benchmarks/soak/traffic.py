"""The load of a soak: predictions at a fixed rate, reloads, experiments with outcomes, and reads.

No caller of predictions retries, but for those of ModelClient. Limits are long: a busy machine is
slow, and only a lost or failed response counts as a failure.
"""

import asyncio
import json
import time
from array import array
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from benchmarks.serving import NAME, window
from benchmarks.soak.stack import VERSIONS, Stack
from serve_app.client import ModelClient
from serve_app.errors import ServingError

CALLERS = 8
"""Callers of each kind: plain HTTP with JSON, and ModelClient with raw numbers."""
LIMIT_S = 60.0
"""Longest wait for a response."""
OUTCOME_AGE_S = 3.0
"""Age of a prediction when its outcome is reported; by then the log has recorded it."""
OUTCOMES_EVERY_S = 5.0
MAX_OUTCOMES = 5000
HEALTH_EVERY_S, READS_EVERY_S = 1.0, 10.0


class UnexpectedResponseError(Exception):
    """A response that is not the one that was expected."""


class Traffic:
    """Counts the calls by kind, the failures by kind and reason, and the predictions' latencies."""

    def __init__(self, running: Stack, client: ModelClient, session: aiohttp.ClientSession) -> None:
        self._running, self._client, self._session = running, client, session
        self._waiting: deque[tuple[float, str]] = deque()
        self._experiments = 0
        self._production = 0
        self.calls: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.took_ms = array("d")

    @property
    def predictions(self) -> int:
        """The number of predictions so far."""
        return self.calls["prediction, plain"] + self.calls["prediction, client"]

    async def capacity_per_s(self, duration_s: float) -> float:
        """Return the rate of predictions of callers that never pause."""
        before, began_s = self.predictions, time.monotonic()
        async with asyncio.timeout(duration_s + LIMIT_S):
            await asyncio.gather(*self._callers(0.0, began_s + duration_s))
        return (self.predictions - before) / (time.monotonic() - began_s)

    async def load_versions(self) -> None:
        """Load the versions that will alternate, so that no later reload starts a process."""
        for _ in VERSIONS:
            await self._count("reload", self._reload())

    async def run(
        self, rate_per_s: float, duration_s: float, reload_s: float, experiment_s: float
    ) -> None:
        """Send predictions at a rate, and everything else, for a time.

        Args:
            rate_per_s: predictions per second.
            duration_s: the time.
            reload_s: the period of promotions with a reload.
            experiment_s: the time for which each experiment runs.
        """
        until_s = time.monotonic() + duration_s
        await asyncio.gather(
            *self._callers(2 * CALLERS / rate_per_s, until_s),
            self._repeat("reload", self._reload, reload_s, until_s),
            self._repeat("experiment", self._next_experiment, experiment_s, until_s),
            self._repeat("outcomes", self._report_outcomes, OUTCOMES_EVERY_S, until_s),
            self._repeat("health", self._check_health, HEALTH_EVERY_S, until_s),
            self._repeat("reads", self._read, READS_EVERY_S, until_s),
        )

    def _callers(self, period_s: float, until_s: float) -> list[Awaitable[None]]:
        kinds: Mapping[str, Callable[[int], Awaitable[None]]] = {
            "prediction, plain": self._predict_plain,
            "prediction, client": self._predict_by_client,
        }
        return [
            self._call(kind, call, caller, period_s, until_s)
            for kind, call in kinds.items()
            for caller in range(CALLERS)
        ]

    async def _call(
        self,
        kind: str,
        call: Callable[[int], Awaitable[None]],
        caller: int,
        period_s: float,
        until_s: float,
    ) -> None:
        """Predict once per period, evenly among the callers; a late response delays the next."""
        next_s = time.monotonic() + period_s * caller / CALLERS
        while (now_s := time.monotonic()) < until_s:
            await asyncio.sleep(max(0.0, next_s - now_s))
            began_s = time.monotonic()
            await self._count(kind, call(caller))
            self.took_ms.append((time.monotonic() - began_s) * 1e3)
            next_s = max(next_s + period_s, began_s)

    async def _repeat(
        self, kind: str, act: Callable[[], Awaitable[None]], period_s: float, until_s: float
    ) -> None:
        while time.monotonic() + period_s < until_s:
            await asyncio.sleep(period_s)
            await self._count(kind, act())

    async def _count(self, kind: str, call: Awaitable[None]) -> None:
        self.calls[kind] += 1
        try:
            await call
        except (
            aiohttp.ClientError,
            TimeoutError,
            ServingError,
            UnexpectedResponseError,
        ) as error:
            self.failures[f"{kind}: {type(error).__name__}: {str(error)[:200]}"] += 1

    async def _predict_plain(self, caller: int) -> None:
        async with self._session.post(
            f"{self._running.url}/api/ml/predict",
            data=_BODIES[caller],
            headers={"Content-Type": "application/json"},
        ) as response:
            text = await response.text()
            if response.status != 200:
                raise UnexpectedResponseError(f"{response.status} {text}")
            self._accept(json.loads(text))

    async def _predict_by_client(self, caller: int) -> None:
        response = await self._client.predict("EURUSD", _FEATURES, unit_id=f"client-{caller}")
        if response is None:
            raise UnexpectedResponseError("no response")
        self._accept(response)

    def _accept(self, prediction: Mapping[str, Any]) -> None:
        if prediction["model_version"] not in VERSIONS:
            raise UnexpectedResponseError(f"version {prediction['model_version']}")
        if prediction["variant"] is not None:
            self._waiting.append((time.monotonic(), prediction["prediction_id"]))

    async def _reload(self) -> None:
        self._production = 1 - self._production
        version = VERSIONS[self._production]
        await self._running.registry.promote_to_production(NAME, version)
        response = await self._client.reload(NAME)
        if response is None or response["version"] != version:
            raise UnexpectedResponseError(f"expected {version}, received {response}")

    async def _next_experiment(self) -> None:
        """Stop the running experiment, if there is one, and create the next one."""
        if self._experiments > 0:
            await self._client.stop_ab_test(self._experiment)
        self._experiments += 1
        await self._client.create_ab_test(
            self._experiment, NAME, VERSIONS[0], NAME, VERSIONS[1], 0.5
        )

    @property
    def _experiment(self) -> str:
        return f"soak-{self._experiments}"

    async def _report_outcomes(self) -> None:
        latest_s = time.monotonic() - OUTCOME_AGE_S
        due: list[str] = []
        while self._waiting and self._waiting[0][0] < latest_s and len(due) < MAX_OUTCOMES:
            due.append(self._waiting.popleft()[1])
        if not due:
            return
        # The market alternates, so that neither variant is better.
        outcomes = [(name, 0.001 if index % 2 else -0.001) for index, name in enumerate(due)]
        response = await self._client.record_outcomes(outcomes)
        if response is None or response["accepted"] != len(due):
            raise UnexpectedResponseError(f"expected {len(due)} accepted, received {response}")

    async def _check_health(self) -> None:
        async with self._session.get(f"{self._running.url}/api/ml/health") as response:
            health = await response.json()
            if response.status != 200:
                raise UnexpectedResponseError(f"{response.status} {health}")

    async def _read(self) -> None:
        if not await self._client.list_models():
            raise UnexpectedResponseError("no models")
        experiments = await self._client.list_ab_tests()
        if len(experiments) < self._experiments - 1:
            raise UnexpectedResponseError(f"{len(experiments)} of {self._experiments} experiments")
        if experiments:
            await self._client.get_ab_test_analysis(experiments[-1]["experiment_id"])


@asynccontextmanager
async def traffic(running: Stack) -> AsyncIterator[Traffic]:
    """Yield callers of a server; their connections close with the context."""
    client = ModelClient(
        running.url,
        raise_errors=True,
        timeout_s=LIMIT_S,
        connect_timeout_s=LIMIT_S,
        command_timeout_s=10 * LIMIT_S,
    )
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, client:
        yield Traffic(running, client, session)


_FEATURES = window()
_BODIES = [
    json.dumps({"symbol": "EURUSD", "features": _FEATURES, "unit_id": f"plain-{caller}"}).encode()
    for caller in range(CALLERS)
]
