"""The router's way to a version's replicas: whether they answer, and a call to one of them."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from registry.predictors import Windows
from serve_app.errors import (
    OverloadedError,
    PredictionFailedError,
    ServingError,
    VersionLoadingError,
)
from serve_app.fleet.state import ServedVersion
from serve_app.inference.batching import Batcher, wait_for_mates_s
from serve_app.inference.prediction import Failure, Prediction, Run
from serve_app.routing import version_key

logger = logging.getLogger(__name__)

PING_PERIOD_S = 0.5
SILENCE_S = 3.0
"""After this long without an answer a version is no longer loaded; longer than a slow model run."""

ATTEMPTS = 2
"""A prediction may be computed twice without harm, so one lost replica costs no answer."""

MAX_MESSAGE_BYTES = 3_000_000
"""Of windows in one call; gRPC refuses messages of more than 4 MiB."""

MAX_SHOWN = 200
"""How much of an unforeseen error the caller is told; the log has all."""

T = TypeVar("T")


def cause_of(error: Exception) -> BaseException:
    """Return what was raised on the other side of a call.

    Over gRPC it comes as it is, through an actor call wrapped.
    """
    return error.cause if isinstance(error, RayTaskError) else error


class ReplicaBackend:
    """Calls the replicas of one version; Ray's errors come out as ours.

    The version counts as loaded while it answers: predictions, or the pings of `watch`. Serve's
    own status is no measure of that: it forgets running deployments when a later deploy fails.
    """

    def __init__(
        self,
        version: ServedVersion,
        handle: DeploymentHandle[Any],
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metadata = version.metadata
        self._settings = settings = version.settings
        self._watch: asyncio.Task[None] | None = None
        self._ongoing = 0
        self._predict = handle.predict
        self._predict_many = handle.predict_many
        self._ping = handle.ping
        self._timeout_s = timeout_s
        self._clock = clock
        self._answered_s = -math.inf
        window_bytes = 4 * math.prod(self._metadata.input_shape)
        self._windows_in_message = max(1, MAX_MESSAGE_BYTES // window_bytes)
        # One call computes, one is on its way.
        self._batcher = Batcher(
            self._send_waiting,
            min(settings.batching.max_batch_size, self._windows_in_message),
            at_once=2 * settings.min_replicas,
        )

    def loaded(self) -> bool:
        """Return whether a replica answered within SILENCE_S."""
        return self._clock() - self._answered_s < SILENCE_S

    def problem(self) -> str | None:
        """Return None: replicas may always come back, and the fleet knows when they will not."""
        return None

    def start_watch(self) -> None:
        """Ping the replicas from now on."""
        self._watch = asyncio.get_running_loop().create_task(self.watch())

    def close(self) -> None:
        """End the pings; calls that are under way go on."""
        if self._watch is not None:
            self._watch.cancel()

    async def watch(self) -> None:
        """Ping the replicas for ever; a ping waits a while for one to be there."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._ping.remote()
            except Exception as error:  # noqa: BLE001
                # Whatever it is, the watch goes on: without it the version would never be loaded.
                logger.warning("%s does not answer: %r", version_key(self._metadata), error)
            else:
                self._answered_s = self._clock()
            await asyncio.sleep(PING_PERIOD_S)

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Answer one window (timesteps, features)."""
        company = self._ongoing
        self._ongoing += 1
        try:
            if self._settings.autoscaling is not None:
                # Serve scales by the calls that are under way: each request is one of its own.
                return await self._call(lambda: self._predict.remote(window, company))
            return await self._gather(window, company)
        finally:
            self._ongoing -= 1

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Answer windows (batch, timesteps, features), in order."""
        step = self._windows_in_message
        parts = [windows[start : start + step] for start in range(0, len(windows), step)]
        answered = [await self._call(partial(self._predict_many.remote, part)) for part in parts]
        return [result for part in answered for result in part]

    async def _gather(self, window: Windows, company: int) -> Prediction | Failure:
        """Answer one window, in one call with others that are there."""
        settings = self._settings
        limit = settings.max_ongoing_requests * settings.min_replicas + settings.max_queued_requests
        if company >= limit:
            problem = f"{company} requests in work in this router, at most {limit}"
            raise OverloadedError(self._metadata.name, self._metadata.version, problem)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._batcher.submit(
                    (window, time.perf_counter()), wait_for_mates_s(settings.batching, company)
                )
        except TimeoutError:
            raise self._late() from None

    async def _send_waiting(
        self, waiting: Sequence[tuple[Windows, float]]
    ) -> Sequence[Prediction | Failure]:
        """Answer windows, each with the time since when it waits, in one call."""
        sent_s = time.perf_counter()
        windows = np.stack([window for window, _ in waiting])
        results = await self._call(lambda: self._predict_many.remote(windows))
        return [
            replace(result, run=Run(sent_s - since_s + result.run.waited_s, result.run.took_s))
            if isinstance(result, Prediction) and result.run is not None
            else result
            for result, (_, since_s) in zip(results, waiting, strict=True)
        ]

    def _late(self) -> OverloadedError:
        problem = f"no answer within {self._timeout_s} s"
        return OverloadedError(self._metadata.name, self._metadata.version, problem)

    async def _call(self, send: Callable[[], Awaitable[T]]) -> T:
        name, version = self._metadata.name, self._metadata.version
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._send_until_answered(send)
        except TimeoutError:
            raise self._late() from None
        except BackPressureError as error:
            raise OverloadedError(name, version, error.message) from None
        except DeploymentUnavailableError:
            raise VersionLoadingError(name, version) from None
        except (RayActorError, ReplicaUnavailableError) as error:
            raise PredictionFailedError(name, version, "its replica died") from error
        except ServingError:
            raise
        except Exception as error:
            cause = cause_of(error)
            if isinstance(cause, ServingError):
                raise cause from None
            logger.exception("%s:%s failed", name, version)
            raise PredictionFailedError(name, version, repr(cause)[:MAX_SHOWN]) from error
        self._answered_s = self._clock()
        return answer

    async def _send_until_answered(self, send: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await send()
            except (RayActorError, ReplicaUnavailableError) as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("%s: sent again: %s", version_key(self._metadata), error)
        raise AssertionError("unreachable")
