"""The replicas of one version of one model, an application of their own beside the router's."""

import logging

import ray
from ray import serve
from ray.serve import Application

from registry.predictors import Windows
from registry.records import ModelMetadata
from serve_app.api.rest.parsing import as_window
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.deployments.backends.batched_model import BatchedModel, load_model
from serve_app.deployments.channel.protocol import Address
from serve_app.deployments.channel.server import Listener
from serve_app.deployments.logs import QUIET, log_through_serve
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from serve_app.timeouts import HEALTH_CHECK_PERIOD_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

NAME = "ModelServer"
"""The deployment's name in the version's application."""


class ModelServer:
    """Answers windows of one version.

    The router has checked them already; a researcher's handle leads here directly, and a bad window
    must fail alone, not the whole batch. Routers come by a channel, unless Serve counts the calls
    to decide how many replicas there are.
    """

    _listener: Listener | None = None

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, metadata: ModelMetadata, settings: VersionSettings, registry_root: str
    ) -> None:
        log_through_serve()
        self._shape = metadata.input_shape
        self._model: BatchedModel = await load_model(metadata, settings, registry_root)
        self._address: Address | None = None
        if settings.autoscaling is None:
            self._listener = Listener(metadata, self.predict_many, settings.max_ongoing_requests)
            self._address = await _listen(self._listener, str(VersionRef.of(metadata)))

    async def predict(self, window: Windows, company: int = 0) -> Prediction | Failure:
        """Answer one window (timesteps, features); InvalidFeaturesError for any other.

        `company` is how many other requests the caller has under way.
        """
        return await self._model.predict(as_window(window, self._shape), company)

    async def predict_many(self, windows: Windows) -> list[Prediction | Failure]:
        """Answer windows (batch, timesteps, features) in their order."""
        return await self._model.predict_many([as_window(each, self._shape) for each in windows])

    async def address(self) -> Address | None:
        """Answer, to show that this replica can, with where it listens; None where it does not."""
        return self._address

    async def __del__(self) -> None:
        """Let go of the routers; Serve awaits this when it ends a replica in good order."""
        if self._listener is not None:
            await self._listener.close()


async def _listen(listener: Listener, version: str) -> Address | None:
    """Listen on this node's address; None where that cannot be."""
    host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    try:
        return await listener.open(serve.get_replica_context().replica_tag, host)
    except OSError as error:
        # As behind an address translation; the handle leads here all the same.
        logger.warning("%s: no channel on this node's address %s: %s", version, host, error)
        return None


def application_name(application: str, key: str) -> str:
    """Return the name of the application of a version (`model:version`) behind `application`."""
    return f"{application}:{key}"


def model_server(version: ServedVersion, registry_root: str) -> Application:
    """Return the application of one version; replacements of its replicas start before they end."""
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
        deployment = deployment.options(autoscaling_config=settings.autoscaling.model_dump())
    return deployment.bind(version.metadata, settings, registry_root)
