"""The client of the fleet: commands of a router, with typed errors."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from ray.serve.handle import DeploymentHandle

from serve_app.control_plane.experiment_service import AnalysisDocument
from serve_app.control_plane.reloads import ReloadResult
from serve_app.deployments.ray_errors import RAY_ERRORS, cause_of
from serve_app.errors import (
    FleetUnavailableError,
    ServedElsewhereError,
    ServingError,
    ServingStateError,
    SettingsError,
)
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.timeouts import FLEET_COMMAND_S, FLEET_REQUEST_S

logger = logging.getLogger(__name__)

STARTUP_ERRORS = (SettingsError, ServingStateError, ServedElsewhereError)
"""Errors with which a misconfigured fleet fails to start; only an operator can resolve them."""

T = TypeVar("T")


class FleetClient:
    """Calls the fleet through its handle; its errors are raised as the fleet raised them.

    Every method raises FleetUnavailableError if the fleet does not respond or cannot start.
    """

    def __init__(self, fleet: DeploymentHandle[Any]) -> None:
        self._fleet = fleet

    async def reload(
        self, model: str, reference: str | None, by: str, key: str | None = None
    ) -> ReloadResult:
        """Load a version and move the traffic; see `control_plane.reloads.Reloader`."""
        return await self._call(self._fleet.reload.remote(model, reference, by, key))

    async def request(self, model: str, version: str) -> None:
        """Start to load a version that a request named."""
        await self._call(self._fleet.request.remote(model, version), FLEET_REQUEST_S)

    async def problem(self) -> str | None:
        """Return None once the fleet responds."""
        await self._call(self._fleet.ping.remote(), FLEET_REQUEST_S)
        return None

    async def create_experiment(
        self, definition: ExperimentDefinition, by: str, key: str | None
    ) -> None:
        """Load both variants and split the traffic."""
        await self._call(self._fleet.create_experiment.remote(definition, by, key))

    async def stop_experiment(self, experiment_id: str, by: str) -> AnalysisDocument:
        """End an experiment and return its final analysis."""
        return await self._call(self._fleet.stop_experiment.remote(experiment_id, by))

    async def _call(self, sent: Awaitable[T], timeout_s: float = FLEET_COMMAND_S) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await sent
        except TimeoutError:
            problem = f"no response within {timeout_s:.0f} s"
            raise FleetUnavailableError(problem) from None
        except (*RAY_ERRORS, ServingError) as error:
            cause = cause_of(error)
            if isinstance(cause, STARTUP_ERRORS):
                raise FleetUnavailableError(str(cause)) from None
            if isinstance(cause, ServingError):
                raise cause from None
            logger.exception("call of the fleet failed")
            raise FleetUnavailableError(repr(cause)[:200]) from error
