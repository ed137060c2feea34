"""The application graph: the router, the fleet behind it, and one application per version.

    Router ──► FleetServer ──► RegistryActor (versions, stages, artifacts, serving state)
       │            ┊ launches and stops
       ├─────► ModelServer in trading-models:hybrid_cnn_lstm:1.0.0
       └─────► ModelServer in trading-models:hybrid_cnn_lstm:1.1.0

`serve_config.yaml` names `build` and its settings. No `from __future__ import annotations` here:
Serve reads the builder's annotation to turn `args` into settings.
"""

import asyncio
import math
import os
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve
from ray.serve import Application

from serve_app.access.interfaces import require_tokens
from serve_app.access.token_source import ReadTokens
from serve_app.control_plane.resolution import resolve
from serve_app.deployments.actors.registry import registry_actor
from serve_app.deployments.fleet import FleetServer
from serve_app.deployments.fleet_ports import ROUTER, ActorRegistry
from serve_app.deployments.http_options import http_host
from serve_app.deployments.logs import QUIET
from serve_app.deployments.router import Router
from serve_app.errors import SettingsError
from serve_app.settings import AppSettings, VersionSettings
from serve_app.timeouts import HEALTH_CHECK_PERIOD_S


def build(args: AppSettings) -> Application:
    """Compose the graph.

    Raises:
        SettingsError: there is nothing to serve, the registry's folder does not exist, the cluster
            has too few GPUs or no token, or other machines would reach the server without a token.
        registry.errors.RegistryError: a declared version is not registered.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    require_gpus(args.versions, resources.get("GPU", 0.0))
    # Reject a configuration that cannot be served; the fleet resolves it again when it starts.
    require_ray_token(os.environ)
    registry: Any = registry_actor(args.registry_root)
    tokens: ReadTokens = ray.get(registry.tokens.remote(str(args.token_file)))
    require_tokens(http_host(), tokens.table, anonymous=args.access.anonymous)
    asyncio.run(resolve(args, ActorRegistry(registry)))
    fleet = serve.deployment(
        name="Fleet",
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,
        logging_config=QUIET,
    )(FleetServer)
    router = serve.deployment(
        name=ROUTER,
        num_replicas=args.router.num_replicas,
        max_ongoing_requests=args.router.max_ongoing_requests,
        ray_actor_options={"num_cpus": args.router.num_cpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,
        logging_config=QUIET,
    )(Router)
    return router.bind(args, fleet.bind(args))


def require_ray_token(environment: Mapping[str, str]) -> None:
    """Raise SettingsError if Ray runs code for anyone who reaches one of its ports."""
    mode = environment.get("RAY_AUTH_MODE")
    if mode != "token":
        raise SettingsError(
            "RAY_AUTH_MODE",
            f"expected token on every node, received {mode!r}; restart the cluster in the "
            f'environment of `eval "$(modelctl env)"`',
        )


def require_gpus(versions: tuple[VersionSettings, ...], available: float) -> None:
    """Raise SettingsError if the versions together need more GPUs than the cluster has.

    A replica cannot combine fractions of several GPUs: three replicas of 0.6 need three GPUs.
    """
    required = {f"{version.model}:{version.version}": _gpus(version) for version in versions}
    shares = sum(version.num_gpus * version.min_replicas for version in versions)
    total = max(shares, *required.values())
    if total > available:
        requests = ", ".join(f"{name} {number:g}" for name, number in required.items() if number)
        raise SettingsError(
            "versions: num_gpus",
            f"expected at most the {available:g} GPUs that the cluster has, received {total:g} "
            f"({requests}); add a node with GPUs to it, or set num_gpus: 0 to run on the CPU",
        )


def _gpus(version: VersionSettings) -> float:
    """Return how many GPUs the minimum number of replicas of a version occupies."""
    if 0 < version.num_gpus < 1:
        return math.ceil(version.min_replicas / math.floor(1 / version.num_gpus + 1e-9))
    return version.num_gpus * version.min_replicas
