"""The fast path of predictions: from a router's HTTP server to the core, past Serve's layers.

For each request to an ingress, Serve creates an id, a context, two tasks and a queue of incoming
messages before it calls the ingress. Serve accepts middlewares in front of that, named by an import
path (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`, see `serve_app.launch.environment`). The
middleware of this module admits the requests to all endpoints, so that slow and rejected ones take
no place in Serve, serves those for predictions, and passes the others on. The HTTP server is
Serve's and waits for these requests, too, before a router ends. Without the middleware all requests
take the default path, and the application itself admits them.
"""

import asyncio
from typing import Protocol

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.deployments.connections import limit_connections
from serve_app.deployments.serve_paths import ServePathsGuard


class Api(Protocol):
    """An application with endpoints, some of them on the fast path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that the guards have admitted."""

    def is_endpoint(self, scope: Scope) -> bool:
        """Return whether a request is for any endpoint."""

    def has_fast_path(self, scope: Scope) -> bool:
        """Return whether a request is for an endpoint on the fast path."""

    def guarded(self, app: ASGIApp) -> ASGIApp:
        """Return `app` behind the guards."""


class FastPath:
    """Serves some requests on the event loop on which it was created.

    Args:
        api: serves the requests.
        max_ongoing_requests: the largest number of requests in flight; others wait.
    """

    def __init__(self, api: Api, max_ongoing_requests: int) -> None:
        self._api = api
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Semaphore(max_ongoing_requests)

    def accepts(self, scope: Scope) -> bool:
        """Return whether a request that arrived on the running loop is for an endpoint.

        With RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD=1 the HTTP server has its own loop.
        """
        return asyncio.get_running_loop() is self._loop and self._api.is_endpoint(scope)

    def in_front_of(self, default: ASGIApp) -> ASGIApp:
        """Return an application that admits requests, and passes some of them to `default`."""

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            if self._api.has_fast_path(scope):
                async with self._free:
                    await self._api(scope, receive, send)
            else:
                await default(scope, receive, send)

        return self._api.guarded(choose)


_no_endpoints = Router()
"""Responds 404 to every request."""


class FastPathMiddleware:
    """Passes each request to the fast path of the router in this process, or to Serve.

    Serve opens an HTTP server for each application, those of versions included. A deployment whose
    `serves_http` is False is reached through handles only, and its server responds 404.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = ServePathsGuard(app)
        self._entry: tuple[FastPath, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        # Read for each request: Serve starts the HTTP server shortly before the deployment is set.
        deployment = serve.get_replica_context().servable_object
        if not getattr(deployment, "serves_http", True):
            await _no_endpoints(scope, receive, send)
            return
        fast_path: FastPath | None = getattr(deployment, "fast_path", None)
        if fast_path is None or not fast_path.accepts(scope):
            await self._app(scope, receive, send)
            return
        if self._entry is None or self._entry[0] is not fast_path:
            self._entry = fast_path, fast_path.in_front_of(self._app)
        await self._entry[1](scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return the middleware for the HTTP server of a replica, or of Serve's fallback proxy."""
    limit_connections()
    try:
        serve.get_replica_context()
    except RayServeException:
        return [Middleware(ServePathsGuard)]
    return [Middleware(FastPathMiddleware)]
