"""The fleet as a deployment: Ray and Serve behind the ports that it asks for."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from ray import serve
from ray.actor import ActorHandle
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus

from registry.errors import RegistryError
from registry.records import ModelMetadata, ModelStage
from serve_app.control_plane.experiment_controller import Conductor
from serve_app.control_plane.ports import Launch, LaunchPhase, RouterReplicas
from serve_app.control_plane.reconciler import Fleet
from serve_app.control_plane.reloads import ReloadResult
from serve_app.deployments.actors.experiment_log import experiment_log
from serve_app.deployments.actors.experiment_log_client import ExperimentLogClient
from serve_app.deployments.actors.registry import registry_actor
from serve_app.deployments.logs import log_through_serve
from serve_app.deployments.model_server import application_name, model_server
from serve_app.deployments.ray_errors import RAY_ERRORS, raising_cause
from serve_app.errors import FleetUnavailableError, ServingError
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.settings import AppSettings
from serve_app.state.reports import RouterReport
from serve_app.state.serving import ServedVersion, ServingState
from serve_app.timeouts import ROUTER_CALL_S

logger = logging.getLogger(__name__)

ROUTER = "Router"
"""The deployment's name in the fleet's application."""

DOMAIN_ERRORS = (RegistryError, ServingError)
"""Errors of the registry's actor that are raised here as they were raised there."""

T = TypeVar("T")

_PHASES = {
    ApplicationStatus.RUNNING: LaunchPhase.RUNNING,
    ApplicationStatus.DEPLOY_FAILED: LaunchPhase.FAILED,
    ApplicationStatus.DELETING: LaunchPhase.STOPPING,
}


class FleetServer:
    """Keeps the versions of this application loaded, and carries its experiments through."""

    async def __init__(self, settings: AppSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        log_through_serve()
        application = serve.get_replica_context().app_name
        registry_root = settings.registry_root
        registry = await asyncio.to_thread(registry_actor, registry_root)
        log = await asyncio.to_thread(experiment_log, settings, application)
        self._fleet = Fleet(
            ActorLedger(registry, application),
            ActorRegistry(registry),
            ServeLauncher(application, registry_root),
            BroadcastRouters(application),
        )
        book = ExperimentLogClient(log, application)
        self._conductor = Conductor(self._fleet, book, ActorRegistry(registry).promote)
        await self._fleet.start(settings)
        self._commands: set[asyncio.Task[Any]] = set()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self._fleet.tend_for_ever()),
            loop.create_task(self._conductor.tend_for_ever()),
        ]

    async def reload(self, model: str, reference: str | None) -> ReloadResult:
        """Load a version and move the traffic; see Fleet.reload."""
        return await self._carry_out(self._fleet.reload(model, reference))

    async def request(self, model: str, version: str) -> None:
        """Begin to load a version that somebody asked for; see Fleet.request."""
        await self._fleet.request(model, version)

    async def create_experiment(self, definition: ExperimentDefinition) -> None:
        """Begin an experiment; see Conductor.create."""
        await self._carry_out(self._conductor.create(definition))

    async def stop_experiment(self, experiment_id: str) -> dict[str, Any]:
        """End an experiment; see Conductor.stop."""
        return await self._carry_out(self._conductor.stop(experiment_id))

    async def _carry_out(self, command: Coroutine[Any, Any, T]) -> T:
        """Return what a command returns; it goes on when whoever asked for it gives up."""
        task = asyncio.get_running_loop().create_task(command)
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return await asyncio.shield(task)

    def check_health(self) -> None:
        """Raise when another fleet has taken over or nothing is tended any more."""
        if self._fleet.superseded or any(each.done() for each in self._loops):
            raise FleetUnavailableError("another fleet has taken over")


class ActorLedger:
    """Keeps the state beside the registry, through its actor."""

    def __init__(self, registry: ActorHandle[Any], application: str) -> None:
        self._registry = registry
        self._application = application

    async def read(self) -> ServingState | None:
        """Return what was written last."""
        with raising_cause(*DOMAIN_ERRORS):
            state: ServingState | None = await self._registry.serving_state.remote(
                self._application
            )
        return state

    async def write(self, state: ServingState, replaces: int) -> bool:
        """Keep `state` if what is there has the revision `replaces`."""
        done: bool = await self._registry.write_serving_state.remote(
            self._application, state, replaces
        )
        return done


class ActorRegistry:
    """The registry behind its actor; its errors come out as they are."""

    def __init__(self, registry: ActorHandle[Any]) -> None:
        self._registry = registry

    async def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` means, None for an empty stage."""
        with raising_cause(*DOMAIN_ERRORS):
            metadata: ModelMetadata | None = await self._registry.find.remote(model, reference)
        return metadata

    async def try_out(self, metadata: ModelMetadata) -> None:
        """Load and run a version where the registry is."""
        with raising_cause(*DOMAIN_ERRORS):
            await self._registry.call.remote("try_out", metadata.name, metadata.version)

    async def promote(self, model: str, version: str, by: str, reason: str) -> None:
        """Put a version into production."""
        with raising_cause(*DOMAIN_ERRORS):
            await self._registry.call_once.remote(
                "set_model_stage", model, version, ModelStage.PRODUCTION, by=by, reason=reason
            )


class ServeLauncher:
    """Runs each version as an application of its own, so that none is touched with another."""

    def __init__(self, application: str, registry_root: str) -> None:
        self._prefix = application_name(application, "")
        self._application = application
        self._registry_root = registry_root

    async def launches(self) -> Mapping[str, Launch]:
        """Return the versions' applications by `model:version`."""
        status = await asyncio.to_thread(serve.status)
        return {
            name.removeprefix(self._prefix): Launch(
                _PHASES.get(each.status, LaunchPhase.STARTING),
                _cause([*(one.message for one in each.deployments.values()), each.message]),
            )
            for name, each in status.applications.items()
            if name.startswith(self._prefix)
        }

    async def launch(self, version: ServedVersion) -> None:
        """Deploy a version's application, with its present settings."""
        target = serve.RunTarget(
            target=model_server(version, self._registry_root),
            name=application_name(self._application, version.key),
            route_prefix=None,
        )
        logger.info("launching %s", version.key)
        await asyncio.to_thread(serve.run_many, [target], wait_for_applications_running=False)

    async def end(self, key: str) -> None:
        """Delete a version's application; its replicas answer what they have first."""
        logger.info("ending %s", key)
        name = application_name(self._application, key)
        await asyncio.to_thread(serve.delete, name, _blocking=False)


class BroadcastRouters:
    """The routers of the application; one that misses a call reads the state by itself."""

    def __init__(self, application: str) -> None:
        self._application = application

    async def adopt(self, state: ServingState) -> None:
        """Give every router the state."""
        await self._broadcast("adopt", state)

    async def reports(self) -> Sequence[RouterReport]:
        """Ask every router what it holds; none where one of them does not answer."""
        reports = await self._broadcast("report")
        return reports if all(isinstance(each, RouterReport) for each in reports) else ()

    async def replicas(self) -> RouterReplicas:
        """Return the routers that may receive requests, as Serve's controller lists them."""
        try:
            async with asyncio.timeout(ROUTER_CALL_S):
                details = await asyncio.to_thread(_serve_details)
        except (TimeoutError, *RAY_ERRORS) as error:
            raise FleetUnavailableError(
                f"Serve does not list the routers: {error!r}"[:200]
            ) from error
        return router_replicas(details, self._application)

    async def _broadcast(self, method: str, *args: object) -> list[Any]:
        try:
            # Before the first router is up there is nobody to tell.
            handle = await asyncio.to_thread(serve.get_deployment_handle, ROUTER, self._application)
            async with asyncio.timeout(ROUTER_CALL_S):
                answers: list[Any] = await handle.broadcast(method, *args).results_async(
                    return_exceptions=True
                )
        except (KeyError, TimeoutError, *RAY_ERRORS) as error:
            logger.warning("the routers cannot be reached: %r", error)
            return []
        for each in answers:
            if isinstance(each, Exception):
                logger.warning("a router failed at %s: %r", method, each)
        return answers


def _serve_details() -> Mapping[str, Any]:
    # The ids of replicas: `serve.status` has only their number, by which a router that Serve
    # replaces at this moment cannot be told from its replacement.
    details: Mapping[str, Any] = _get_global_client().get_serve_details()  # type: ignore[union-attr]
    return details


def router_replicas(details: Mapping[str, Any], application: str) -> RouterReplicas:
    """Return the routers of `application` in Serve's details of the cluster.

    A replica that is starting receives no requests. One in any other state may: after a restart of
    Serve's controller, for example, all of them are `RECOVERING` and serve.
    """
    deployments = details["applications"].get(application, {}).get("deployments", {})
    states: dict[str, str] = {
        replica["replica_id"]: replica["state"]
        for replica in deployments.get(ROUTER, {}).get("replicas", ())
    }
    stopping = frozenset(router for router, state in states.items() if state == "STOPPING")
    idle = frozenset(router for router, state in states.items() if state in ("STARTING", "STOPPED"))
    return RouterReplicas(frozenset(states) - stopping - idle, stopping)


def _cause(messages: Sequence[str]) -> str:
    """Return the last line of the first message that says anything; Ray puts the cause there."""
    for message in messages:
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return "Ray gives no reason"
