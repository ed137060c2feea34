"""The application graph: a router in front of one model server a version, and the registry actor.

    Router ──► ModelServer hybrid_cnn_lstm:1.0.0
           └─► ModelServer hybrid_cnn_lstm:1.1.0 ──► RegistryActor (artifacts)

`serve_config.yaml` names `build` and its settings. No `from __future__ import annotations` here:
Serve reads the builder's annotation to turn `args` into settings.
"""

import logging
from typing import Any

import ray
from ray import serve
from ray.actor import ActorHandle
from ray.serve import Application, Deployment

from registry.records import ModelMetadata
from serve_app.deployments.model_server import ModelServer
from serve_app.deployments.registry_actor import registry_actor
from serve_app.deployments.router import Router
from serve_app.errors import SettingsError
from serve_app.routing import RoutingTable, version_key
from serve_app.settings import AppSettings, RouterSettings, VersionSettings

logger = logging.getLogger(__name__)

HEALTH_CHECK_PERIOD_S = 2.0
"""A dead replica is noticed, and replaced, within this time."""


def build(args: AppSettings) -> Application:
    """Compose the graph; a stage is resolved here, so that all its replicas hold one version.

    Raises:
        SettingsError: nothing to serve, or a folder that is not there.
        registry.errors.RegistryError: a version that is declared but not registered.
    """
    declared = resolve(args.versions, registry_actor(args.registry_root))
    servers = {
        version_key(metadata): model_server(metadata, settings, args.registry_root)
        for metadata, settings in declared
    }
    table = RoutingTable(
        args.default_model or args.versions[0].model, [metadata for metadata, _ in declared]
    )
    return router(args.router).bind(args.router, table, servers)


def resolve(
    declared: tuple[VersionSettings, ...], registry: ActorHandle[Any]
) -> list[tuple[ModelMetadata, VersionSettings]]:
    """Return the version each declaration means; one version declared twice serves once."""
    found: list[ModelMetadata | None] = ray.get(
        [registry.find.remote(each.model, each.version) for each in declared]
    )
    chosen: dict[str, tuple[ModelMetadata, VersionSettings]] = {}
    for metadata, settings in zip(found, declared, strict=True):
        if metadata is None:
            logger.warning("%s has no %s version: left out", settings.model, settings.version)
        elif version_key(metadata) in chosen:
            first = chosen[version_key(metadata)][1]
            logger.warning(
                "%s is declared as %s and as %s: the settings of the first are used",
                version_key(metadata),
                first.version,
                settings.version,
            )
        else:
            chosen[version_key(metadata)] = (metadata, settings)
    if not chosen:
        references = ", ".join(f"{each.model}:{each.version}" for each in declared)
        raise SettingsError("versions", f"none of {references} is in the registry; promote one")
    return list(chosen.values())


def model_server(
    metadata: ModelMetadata, settings: VersionSettings, registry_root: str
) -> Application:
    """Return the deployment of one version, named `model:version`."""
    deployment = serve.deployment(
        name=version_key(metadata),
        num_replicas=settings.num_replicas,
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        ray_actor_options={"num_cpus": settings.num_cpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
    )(ModelServer)
    return deployment.bind(metadata, settings, registry_root)


def router(settings: RouterSettings) -> Deployment:
    """Return the ingress deployment."""
    return serve.deployment(
        name="Router",
        num_replicas=settings.num_replicas,
        max_ongoing_requests=settings.max_ongoing_requests,
        ray_actor_options={"num_cpus": settings.num_cpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
    )(Router)
