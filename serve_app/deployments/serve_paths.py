"""Serve's own endpoints and options, which its HTTP servers offer to every client.

They precede the guards of the router. HAProxy and KubeRay check `/-/healthz`, whose response
contains no data. No client needs `/-/routes`.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.api.rest.access import BROWSER_HEADERS
from serve_app.api.rest.encoding import json_response
from serve_app.api.rest.hosts import secured

ROUTES = "/-/routes"
HEALTH = "/-/healthz"

OPTIONS = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"serve_multiplexed_model_id",
        b"serve-multiplexed-model-id",
    }
)
"""Headers with which a client would change how Serve handles its request."""


class ServePathsGuard:
    """Hides Serve's own endpoints and options from clients, and adds the security headers.

    Args:
        app: Serve's application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to Serve, or respond 404."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Serve decodes the values of some headers as UTF-8 and fails otherwise.
        headers = [(name, value) for name, value in scope["headers"] if value.isascii()]
        is_page = any(name in BROWSER_HEADERS for name, _ in headers)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == ROUTES or (path == HEALTH and is_page):
            message = "no such endpoint; see /docs for the endpoints"
            error = {"code": "no_such_endpoint", "message": message}
            await json_response({"error": error}, 404)(scope, receive, secured(send))
            return
        headers = [(name, value) for name, value in headers if name not in OPTIONS]
        await self._app({**scope, "headers": headers}, receive, secured(send))
