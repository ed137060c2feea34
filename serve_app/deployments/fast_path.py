"""The short way for predictions: from a router's HTTP server to its service, past Serve's layers.

For each request of an ingress Serve makes an id, a context, two tasks and a queue of what comes in,
before our code sees it. Serve lets middlewares stand in front of that, named by an import path
(`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`, see `serve_app.launch.environment`). The one named
here answers requests for predictions and hands on everything else. The HTTP server is Serve's: it
waits for these requests, too, before a router ends. Without the middleware all take the long way.
"""

import asyncio
from collections.abc import Callable

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send


class ShortWay:
    """What a router answers by itself, on the event loop on which it is made.

    Args:
        app: answers.
        is_meant: tells which requests.
        max_ongoing_requests: most of them at once; others wait their turn.
    """

    def __init__(
        self, app: ASGIApp, is_meant: Callable[[Scope], bool], max_ongoing_requests: int
    ) -> None:
        self._app = app
        self._is_meant = is_meant
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Semaphore(max_ongoing_requests)

    def takes(self, scope: Scope) -> bool:
        """Return whether a request that came to the running loop is for this one to answer.

        With RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD=1 the HTTP server has a loop of its own.
        """
        return self._is_meant(scope) and asyncio.get_running_loop() is self._loop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        async with self._free:
            await self._app(scope, receive, send)


class TakeShortWay:
    """A middleware that lets the router in this process answer what its short way is meant for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # Looked up each time: Serve starts the server shortly before it tells who is served.
        served = serve.get_replica_context().servable_object
        short_way: ShortWay | None = getattr(served, "short_way", None)
        if short_way is not None and short_way.takes(scope):
            await short_way(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return the middleware for this process's HTTP server; none where it is a proxy's."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return []
    return [Middleware(TakeShortWay)]
