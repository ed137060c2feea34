"""The router's view of the replicas: which are ready, and a call to one of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from registry.records import ModelMetadata
from serve_app.errors import OverloadedError, PredictionFailedError, VersionLoadingError
from serve_app.inference.prediction import Failure, Prediction, Windows
from serve_app.routing import version_key

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
ATTEMPTS = 2
"""A prediction may be computed twice without harm, so one lost replica costs no answer."""

T = TypeVar("T")


class ReplicaWatch:
    """Knows which deployments of the application have a running replica.

    It asks Serve's controller, once a period. While the controller is away, what was known last
    stays: the replicas go on serving without it.
    """

    def __init__(self, app_name: str) -> None:
        self._app_name = app_name
        self._running: frozenset[str] = frozenset()
        self._task = asyncio.get_running_loop().create_task(self._poll())

    def running(self, deployment: str) -> bool:
        """Return whether the deployment had a running replica at the last look."""
        return deployment in self._running

    async def _poll(self) -> None:
        reachable = True
        while True:
            try:
                self._running = await asyncio.to_thread(_running_deployments, self._app_name)
            except Exception as error:  # noqa: BLE001  whatever it is, serving goes on
                if reachable:
                    logger.warning("cannot ask Serve which replicas run: %s", error)
                reachable = False
            else:
                reachable = True
            await asyncio.sleep(PERIOD_S)


def _running_deployments(app_name: str) -> frozenset[str]:
    application = serve.status().applications.get(app_name)
    if application is None:
        return frozenset()
    return frozenset(
        name
        for name, deployment in application.deployments.items()
        if any(state == "RUNNING" and count for state, count in deployment.replica_states.items())
    )


class ReplicaBackend:
    """Calls the replicas of one version; Ray's errors come out as ours."""

    def __init__(
        self,
        metadata: ModelMetadata,
        handle: DeploymentHandle[Any],
        watch: ReplicaWatch,
        timeout_s: float,
    ) -> None:
        self._metadata = metadata
        self._predict = handle.predict
        self._predict_many = handle.predict_many
        self._watch = watch
        self._timeout_s = timeout_s

    def loaded(self) -> bool:
        """Return whether a replica is ready."""
        return self._watch.running(version_key(self._metadata))

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Answer one window (timesteps, features)."""
        return await self._call(lambda: self._predict.remote(window))

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Answer windows (batch, timesteps, features), in order."""
        return await self._call(lambda: self._predict_many.remote(windows))

    async def _call(self, send: Callable[[], Awaitable[T]]) -> T:
        name, version = self._metadata.name, self._metadata.version
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send_until_answered(send)
        except TimeoutError:
            problem = f"no answer within {self._timeout_s} s"
            raise OverloadedError(name, version, problem) from None
        except BackPressureError as error:
            raise OverloadedError(name, version, error.message) from None
        except DeploymentUnavailableError:
            raise VersionLoadingError(name, version) from None
        except (RayActorError, ReplicaUnavailableError) as error:
            raise PredictionFailedError(name, version, "its replica died") from error
        except RayTaskError as error:
            logger.exception("%s:%s failed", name, version)
            raise PredictionFailedError(name, version, repr(error.cause)) from error

    async def _send_until_answered(self, send: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await send()
            except (RayActorError, ReplicaUnavailableError) as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("%s: sent again: %s", version_key(self._metadata), error)
        raise AssertionError("unreachable")
