"""The deployment of one version: its replicas form an application separate from the router's."""

import logging

import ray
from ray import serve
from ray.serve import Application

from registry.predictors import Windows
from registry.records import ModelMetadata
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.windows import as_window
from serve_app.deployments.backends.batched_model import BatchedModel, load_model
from serve_app.deployments.channel.protocol import Address
from serve_app.deployments.channel.server import ChannelServer
from serve_app.deployments.grpc_server import listen_on_node_address
from serve_app.deployments.heartbeats import HeartbeatServer, listener_for_routers
from serve_app.deployments.logs import QUIET, log_through_serve
from serve_app.settings import VersionSettings
from serve_app.state.serving import LaunchId, ServedVersion
from serve_app.timeouts import HEALTH_CHECK_PERIOD_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

NAME = "ModelServer"
"""The name of the deployment in the version's application."""


class ModelServer:
    """Computes predictions of one version.

    Windows are checked although the router has checked them: calls through a researcher's handle
    arrive unchecked, and a bad window must fail alone, not with its batch. Routers use a channel
    unless the version autoscales: Serve then scales by the calls that it counts on its handle.
    """

    serves_http = False
    """Read by the middleware of the HTTP server that Serve opens for every application."""

    _channel_server: ChannelServer | None = None

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        metadata: ModelMetadata,
        settings: VersionSettings,
        registry_root: str,
        require_signature: tuple[str, ...] = (),
    ) -> None:
        log_through_serve()
        listen_on_node_address()
        self._metadata = metadata
        self._model: BatchedModel = await load_model(
            metadata, settings, registry_root, require_signature
        )
        self._address: Address | None = None
        if settings.autoscaling is None:
            self._channel_server = ChannelServer(
                metadata, self.predict_many, settings.max_ongoing_requests
            )
            self._address = await _open(self._channel_server, VersionRef.of(metadata))

    async def predict(self, window: Windows, others_in_flight: int = 0) -> Prediction | Failure:
        """Return the prediction for one window (timesteps, features).

        Args:
            window: the window; the wrong shape or a value that is not finite is rejected.
            others_in_flight: how many other requests the caller has in flight.

        Raises:
            InvalidFeaturesError: the window does not fit the model.
        """
        return await self._model.predict(as_window(window, self._metadata), others_in_flight)

    async def predict_many(self, windows: Windows) -> list[Prediction | Failure]:
        """Return the predictions for windows (batch, timesteps, features), in order."""
        return await self._model.predict_many(
            [as_window(window, self._metadata) for window in windows]
        )

    async def address(self) -> Address | None:
        """Return the address of this replica's channel, None without one; serves as heartbeat."""
        return self._address

    async def __del__(self) -> None:
        """Drain the channels; Serve awaits this when it stops a replica gracefully."""
        if self._channel_server is not None:
            await self._channel_server.close()


async def _open(server: ChannelServer, version: VersionRef) -> Address | None:
    """Listen on this node's address; return None if that is not possible."""
    host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    heartbeats = listener_for_routers(host)
    port = None
    if heartbeats is not None:
        HeartbeatServer(heartbeats)
        port = heartbeats.getsockname()[1]
    try:
        return await server.open(serve.get_replica_context().replica_tag, host, port)
    except OSError as error:
        # For example behind address translation; calls through the handle still arrive.
        logger.warning("%s: no channel on this node's address %s: %s", version, host, error)
        return None


def application_name(application: str, launch_id: LaunchId) -> str:
    """Return the name of the application of a version's replicas."""
    return f"{application}:{launch_id}"


def launch_of(name: str, application: str) -> LaunchId | None:
    """Return the id of the replicas in an application; None for any other application."""
    prefix = f"{application}:"
    if not name.startswith(prefix):
        return None
    model, _, rest = name.removeprefix(prefix).partition(":")
    number, _, digest = rest.partition(":")
    try:
        return LaunchId(VersionRef.parse(f"{model}:{number}"), digest)
    except ValueError:
        return None


def model_server(
    version: ServedVersion,
    registry_root: str,
    require_signature: tuple[str, ...] = (),
    replaced_replicas: int = 0,
) -> Application:
    """Return the application of one version; a replica is replaced before it is stopped.

    With autoscaling it starts with as many replicas as it replaces, since it takes over their load.
    """
    settings = version.settings
    deployment = serve.deployment(
        name=NAME,
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,
        logging_config=QUIET,
    )(ModelServer)
    if settings.autoscaling is None:
        deployment = deployment.options(num_replicas=settings.min_replicas)
    else:
        limits = settings.autoscaling
        initial = min(max(replaced_replicas, limits.min_replicas), limits.max_replicas)
        deployment = deployment.options(
            autoscaling_config={**limits.model_dump(), "initial_replicas": initial}
        )
    return deployment.bind(version.metadata, settings, registry_root, require_signature)
