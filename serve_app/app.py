"""The application graph: the router, the fleet behind it, and one application a version.

    Router ──► FleetServer ──► RegistryActor (versions, stages, artifacts, what is served)
       │            ┊ launches and ends
       ├─────► ModelServer in trading-models:hybrid_cnn_lstm:1.0.0
       └─────► ModelServer in trading-models:hybrid_cnn_lstm:1.1.0

`serve_config.yaml` names `build` and its settings. No `from __future__ import annotations` here:
Serve reads the builder's annotation to turn `args` into settings.
"""

import logging
from typing import Any

import ray
from ray import serve
from ray.actor import ActorHandle
from ray.serve import Application

from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.deployments.fleet_server import ROUTER, FleetServer
from serve_app.deployments.model_server import HEALTH_CHECK_PERIOD_S
from serve_app.deployments.registry_actor import registry_actor
from serve_app.deployments.router import Router
from serve_app.errors import SettingsError
from serve_app.fleet.state import Declaration, ServedVersion, Stages, settled
from serve_app.routing import version_key
from serve_app.settings import AppSettings, VersionSettings

logger = logging.getLogger(__name__)


def build(args: AppSettings) -> Application:
    """Compose the graph; a stage is resolved here, so that all its replicas hold one version.

    Raises:
        SettingsError: nothing to serve, a folder that is not there, or a GPU that no node has.
        registry.errors.RegistryError: a version that is declared but not registered.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    require_gpus(args.versions, resources.get("GPU", 0.0))
    declaration = resolve(args, registry_actor(args.registry_root))
    fleet = serve.deployment(
        name="Fleet",
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,
    )(FleetServer)
    router = serve.deployment(
        name=ROUTER,
        num_replicas=args.router.num_replicas,
        max_ongoing_requests=args.router.max_ongoing_requests,
        ray_actor_options={"num_cpus": args.router.num_cpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,
    )(Router)
    return router.bind(args, fleet.bind(declaration))


def resolve(settings: AppSettings, registry: ActorHandle[Any]) -> Declaration:
    """Return the version that each declaration means; one declared twice serves once."""
    found: list[ModelMetadata | None] = ray.get(
        [registry.find.remote(each.model, each.version) for each in settings.versions]
    )
    chosen: dict[str, ServedVersion] = {}
    stages: Stages = {}
    for metadata, declared in zip(found, settings.versions, strict=True):
        if metadata is None:
            logger.warning("%s has no %s version: left out", declared.model, declared.version)
            continue
        if declared.version in STAGE_NAMES:
            stages.setdefault(declared.model, {})[declared.version] = metadata.version
        key = version_key(metadata)
        if key in chosen:
            logger.warning("%s is declared twice: the settings of the first are used", key)
        else:
            chosen[key] = ServedVersion(metadata=metadata, settings=settled(declared, metadata))
    if not chosen:
        references = ", ".join(f"{each.model}:{each.version}" for each in settings.versions)
        raise SettingsError("versions", f"none of {references} is in the registry; promote one")
    for served in chosen.values():
        # A version declared by its number answers for its stage too.
        for stage, meaning in STAGE_NAMES.items():
            if served.metadata.stage is meaning:
                stages.setdefault(served.metadata.name, {})[stage] = served.metadata.version
    return Declaration(settings=settings, versions=tuple(chosen.values()), stages=stages)


def require_gpus(versions: tuple[VersionSettings, ...], available: float) -> None:
    """Raise SettingsError for a version that wants a GPU where the cluster has fewer."""
    for each in versions:
        wanted = each.num_gpus * each.min_replicas
        if wanted > available:
            raise SettingsError(
                f"versions: {each.model}:{each.version}: num_gpus",
                f"expected {wanted:g} GPUs for {each.min_replicas} replicas, the cluster has "
                f"{available:g}; add a node with GPUs to it, or set num_gpus: 0 to run on the CPU",
            )
