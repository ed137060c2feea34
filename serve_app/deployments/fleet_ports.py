"""The ports of the control plane on Ray: the registry's actor, Serve and the routers."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve
from ray.actor import ActorHandle
from ray.serve._private.common import ReplicaState
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus

from registry.errors import RegistryError, StorageError
from registry.records import ModelMetadata, ModelStage
from serve_app.control_plane.ports import Launch, LaunchPhase, RouterReplicas
from serve_app.deployments.model_server import NAME, application_name, launch_of, model_server
from serve_app.deployments.ray_errors import RAY_ERRORS, raising_cause
from serve_app.errors import FleetUnavailableError, ServingError
from serve_app.state.reports import RouterReport
from serve_app.state.serving import LaunchId, ServedVersion, ServingState
from serve_app.timeouts import ROUTER_CALL_S

logger = logging.getLogger(__name__)

ROUTER = "Router"
"""The name of the router's deployment in the application."""

DOMAIN_ERRORS = (RegistryError, ServingError)
"""The errors that the registry's actor raises and that are raised here unchanged."""

_PHASES = {
    ApplicationStatus.RUNNING: LaunchPhase.RUNNING,
    ApplicationStatus.DEPLOY_FAILED: LaunchPhase.FAILED,
    ApplicationStatus.DELETING: LaunchPhase.STOPPING,
}


class ActorStateStore:
    """Stores the serving state in the registry's folder, through the registry's actor."""

    def __init__(self, registry: ActorHandle[Any], application: str) -> None:
        self._registry = registry
        self._application = application

    async def read(self) -> ServingState | None:
        """Return the state that was written last."""
        with raising_cause(*DOMAIN_ERRORS):
            state: ServingState | None = await self._registry.serving_state.remote(
                self._application
            )
        return state

    async def write(self, state: ServingState, replaces: int) -> bool:
        """Write `state` if the stored one has the revision `replaces`; return whether it did."""
        try:
            with raising_cause(*DOMAIN_ERRORS):
                written: bool = await self._registry.write_serving_state.remote(
                    self._application, state, replaces
                )
        except StorageError as error:
            raise FleetUnavailableError(str(error)) from error
        return written


class ActorRegistry:
    """Reads and promotes versions through the registry's actor."""

    def __init__(self, registry: ActorHandle[Any]) -> None:
        self._registry = registry

    async def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` denotes; None for an empty stage."""
        with raising_cause(*DOMAIN_ERRORS):
            metadata: ModelMetadata | None = await self._registry.find.remote(model, reference)
        return metadata

    async def try_out(self, metadata: ModelMetadata) -> None:
        """Load and run a version once, on the node of the registry."""
        with raising_cause(*DOMAIN_ERRORS):
            await self._registry.call.remote("try_out", metadata.name, metadata.version)

    async def trust(self, key_ids: Sequence[str]) -> None:
        """Require signatures by one of these keys in the registry; with none, lift this."""
        with raising_cause(*DOMAIN_ERRORS):
            await self._registry.trust.remote(key_ids)

    async def promote(self, model: str, version: str, by: str, reason: str) -> None:
        """Promote a version to production."""
        with raising_cause(*DOMAIN_ERRORS):
            await self._registry.call_once.remote(
                "set_model_stage", model, version, ModelStage.PRODUCTION, by=by, reason=reason
            )


class ServeLauncher:
    """Runs each version as a separate application, so that a change of one affects no other."""

    def __init__(
        self, application: str, registry_root: str, require_signature: Sequence[str] = ()
    ) -> None:
        self._application = application
        self._registry_root = registry_root
        self._require_signature = tuple(require_signature)

    async def launches(self) -> Mapping[LaunchId, Launch]:
        """Return the applications that serve versions."""
        status = await asyncio.to_thread(serve.status)
        launches = {}
        for name, application in status.applications.items():
            launch_id = launch_of(name, self._application)
            if launch_id is None:
                continue
            messages = [deployment.message for deployment in application.deployments.values()]
            launches[launch_id] = Launch(
                _PHASES.get(application.status, LaunchPhase.STARTING),
                _cause([*messages, application.message]),
            )
        return launches

    async def launch(self, version: ServedVersion) -> None:
        """Deploy a version's application with its current settings."""
        target = serve.RunTarget(
            target=model_server(
                version,
                self._registry_root,
                self._require_signature,
                await asyncio.to_thread(self._running_replicas, version.replaces),
            ),
            name=application_name(self._application, version.launch_id),
            route_prefix=None,
        )
        logger.info("%s: launching", version.launch_id)
        await asyncio.to_thread(serve.run_many, [target], wait_for_applications_running=False)

    async def end(self, launch_id: LaunchId) -> None:
        """Delete the application; its replicas finish their requests first."""
        logger.info("%s: ending", launch_id)
        name = application_name(self._application, launch_id)
        await asyncio.to_thread(serve.delete, name, _blocking=False)

    def _running_replicas(self, version: ServedVersion | None) -> int:
        """Return how many replicas serve a version that is to be replaced."""
        if version is None:
            return 0
        name = application_name(self._application, version.launch_id)
        application = serve.status().applications.get(name)
        deployment = application.deployments.get(NAME) if application else None
        return deployment.replica_states.get(ReplicaState.RUNNING, 0) if deployment else 0


class BroadcastRouters:
    """Calls all routers of the application at once."""

    def __init__(self, application: str) -> None:
        self._application = application

    async def adopt(self, state: ServingState) -> None:
        """Send every router the state; one that misses the call reads it by itself."""
        await self._broadcast("adopt", state)

    async def reports(self) -> Sequence[RouterReport]:
        """Return every router's report; empty while one of them does not respond."""
        reports = await self._broadcast("report")
        return reports if all(isinstance(report, RouterReport) for report in reports) else ()

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
            # Before the first router has started there is no deployment to call.
            handle = await asyncio.to_thread(serve.get_deployment_handle, ROUTER, self._application)
            async with asyncio.timeout(ROUTER_CALL_S):
                responses: list[Any] = await handle.broadcast(method, *args).results_async(
                    return_exceptions=True
                )
        except (KeyError, TimeoutError, *RAY_ERRORS) as error:
            logger.warning("routers unreachable: %r", error)
            return []
        for response in responses:
            if isinstance(response, Exception):
                logger.warning("router failed: %s: %r", method, response)
        return responses


def _serve_details() -> Mapping[str, Any]:
    # `serve.status` has only the number of replicas, which does not distinguish a router that is
    # being replaced from its replacement.
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
    """Return the last line of the first message that is not empty; Ray puts the cause there."""
    for message in messages:
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return "Ray gives no reason"
