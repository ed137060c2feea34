"""Opens the backend of a version: replicas, or the version inside this process."""

from ray import serve

from serve_app.data_plane.backends import Backend
from serve_app.deployments.backends.batched_model import BatchedModel, load_model
from serve_app.deployments.backends.local import LocalBackend
from serve_app.deployments.backends.replicas import ReplicaBackend
from serve_app.deployments.model_server import NAME, application_name
from serve_app.settings import AppSettings
from serve_app.state.serving import ServedVersion


def open_backend(version: ServedVersion, application: str, settings: AppSettings) -> Backend:
    """Start to open the backend of a version, without waiting for it.

    Args:
        version: the version, with its settings.
        application: the application that serves it.
        settings: those of the application.
    """
    if version.settings.placement == "router":
        return LocalBackend(version, lambda served: _load(served, settings))
    handle = serve.get_deployment_handle(
        NAME, application_name(application, version.launch_id), _check_exists=False
    )
    backend = ReplicaBackend(version, handle, settings.router.request_timeout_s)
    backend.start_watch()
    return backend


async def _load(version: ServedVersion, settings: AppSettings) -> BatchedModel:
    return await load_model(
        version.metadata, version.settings, settings.registry_root, settings.require_signature
    )
