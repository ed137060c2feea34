"""The fast path of predictions: from a router's HTTP server to the core, past Serve's layers.

For each request to an ingress, Serve creates an id, a context, two tasks and a queue of incoming
messages before it calls the ingress. Serve accepts middlewares in front of that, named by an import
path (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`, see `serve_app.launch.environment`). The
middleware of this module serves requests for predictions and passes all others on. The HTTP server
is Serve's and waits for these requests, too, before a router ends. Without the middleware all
requests take the default path.
"""

import asyncio
from collections.abc import Callable

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send


class FastPath:
    """Serves some requests on the event loop on which it was created.

    Args:
        app: serves the requests.
        accepts: returns whether a request belongs on the fast path.
        max_ongoing_requests: the largest number of requests in flight; others wait.
    """

    def __init__(
        self, app: ASGIApp, accepts: Callable[[Scope], bool], max_ongoing_requests: int
    ) -> None:
        self._app = app
        self._accepts = accepts
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Semaphore(max_ongoing_requests)

    def accepts(self, scope: Scope) -> bool:
        """Return whether the fast path serves a request that arrived on the running loop.

        With RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD=1 the HTTP server has its own loop.
        """
        return self._accepts(scope) and asyncio.get_running_loop() is self._loop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        async with self._free:
            await self._app(scope, receive, send)


_no_endpoints = Router()
"""Responds 404 to every request."""


class FastPathMiddleware:
    """Passes each request to the fast path of the router in this process, or to Serve.

    Serve opens an HTTP server for each application, those of versions included. A deployment whose
    `serves_http` is False is reached through handles only, and its server responds 404.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        # Read for each request: Serve starts the HTTP server shortly before the deployment is set.
        deployment = serve.get_replica_context().servable_object
        if not getattr(deployment, "serves_http", True):
            await _no_endpoints(scope, receive, send)
            return
        fast_path: FastPath | None = getattr(deployment, "fast_path", None)
        if fast_path is not None and fast_path.accepts(scope):
            await fast_path(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return the middleware for a replica's HTTP server; none in the process of a proxy."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return []
    return [Middleware(FastPathMiddleware)]
