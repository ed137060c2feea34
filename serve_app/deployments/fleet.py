"""The fleet and the experiment controller as one deployment."""

import asyncio
from typing import Any

from ray import serve

from serve_app.control_plane.experiment_controller import ExperimentController
from serve_app.control_plane.fleet import Fleet
from serve_app.control_plane.reloads import ReloadResult
from serve_app.control_plane.repetition import Repetition
from serve_app.deployments.actors.experiment_log import experiment_log
from serve_app.deployments.actors.experiment_log_client import ExperimentLogClient
from serve_app.deployments.actors.registry import registry_actor
from serve_app.deployments.fleet_ports import (
    ActorRegistry,
    ActorStateStore,
    BroadcastRouters,
    ServeLauncher,
)
from serve_app.deployments.grpc_server import listen_on_node_address
from serve_app.deployments.logs import log_through_serve
from serve_app.errors import FleetUnavailableError
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.settings import AppSettings


class FleetServer:
    """Reconciles the versions of this application, and runs its experiments."""

    async def __init__(self, settings: AppSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        log_through_serve()
        listen_on_node_address()
        application = serve.get_replica_context().app_name
        registry_root = settings.registry_root
        registry = await asyncio.to_thread(registry_actor, registry_root)
        log = await asyncio.to_thread(experiment_log, settings, application)
        await ActorRegistry(registry).trust(settings.require_signature)
        self._fleet = Fleet(
            ActorStateStore(registry, application),
            ActorRegistry(registry),
            ServeLauncher(application, registry_root, settings.require_signature),
            BroadcastRouters(application),
        )
        self._controller = ExperimentController(
            self._fleet, ExperimentLogClient(log, application), ActorRegistry(registry).promote
        )
        await self._fleet.start(settings)
        self._repetition = Repetition()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self._fleet.reconcile_forever()),
            loop.create_task(self._controller.reconcile_forever()),
        ]

    async def reload(
        self, model: str, reference: str | None, by: str, key: str | None
    ) -> ReloadResult:
        """Load a version and move the traffic; see Fleet.reload."""
        return await self._repetition.execute(
            None if key is None else ("reload", by, key, model, reference),
            lambda: self._fleet.reload(model, reference, by),
        )

    async def request(self, model: str, version: str) -> None:
        """Start to load a version that a request named; see Fleet.request."""
        await self._fleet.request(model, version)

    async def create_experiment(
        self, definition: ExperimentDefinition, by: str, key: str | None
    ) -> None:
        """Start an experiment; see ExperimentController.create."""
        await self._repetition.execute(
            None if key is None else ("create", by, key, definition.model_dump_json()),
            lambda: self._controller.create(definition, by, key),
        )

    async def stop_experiment(self, experiment_id: str, by: str) -> dict[str, Any]:
        """End an experiment; see ExperimentController.stop."""
        # A repetition returns the same analysis, so that it needs no key from its caller.
        return await self._repetition.execute(
            None, lambda: self._controller.stop(experiment_id, by)
        )

    def ping(self) -> None:
        """Respond."""

    def check_health(self) -> None:
        """Raise if another fleet has taken over, or a loop has ended, so that Serve replaces this.

        Raises:
            FleetUnavailableError: this fleet reconciles nothing any more.
        """
        if self._fleet.superseded or any(loop.done() for loop in self._loops):
            raise FleetUnavailableError("another fleet has taken over")
