"""The ingress: HTTP and handles in front of the versions' replicas."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from serve_app.deployments.logs import log_through_serve
from serve_app.deployments.replicas import ReplicaBackend
from serve_app.http import build_http
from serve_app.parsing import parse_predict
from serve_app.routing import RoutingTable, version_key
from serve_app.service import PredictionService
from serve_app.settings import RouterSettings


@serve.ingress()
class Router:
    """Validates a request, chooses its version and answers with one hop to a replica."""

    def __init__(
        self,
        settings: RouterSettings,
        table: RoutingTable,
        servers: Mapping[str, DeploymentHandle[Any]],
    ) -> None:
        log_through_serve()
        self._max_body_bytes = settings.max_body_bytes
        backends = {
            version_key(each): ReplicaBackend(
                each, servers[version_key(each)], settings.request_timeout_s
            )
            for each in table.versions
        }
        loop = asyncio.get_running_loop()
        self._watches = [loop.create_task(each.watch()) for each in backends.values()]
        self._service = PredictionService(table, backends, settings.max_batch_requests)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return build_http(self._service, self._max_body_bytes)

    async def predict(
        self,
        symbol: str,
        features: object,
        model_name: str | None = None,
        model_version: str | None = None,
        unit_id: str | None = None,
    ) -> dict[str, Any]:
        """Answer one window through a handle, as HTTP would; `features` may be an array."""
        document = {
            "symbol": symbol,
            "features": features,
            "model_name": model_name,
            "model_version": model_version,
            "unit_id": unit_id,
        }
        return await self._service.predict(parse_predict(document), perf_counter())
