"""The ASGI application of the REST front end."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serve_app.access.control import AccessControl
from serve_app.api.rest import schemas
from serve_app.api.rest.access import PUBLIC, ROLES, AccessGuard
from serve_app.api.rest.encoding import json_response
from serve_app.api.rest.errors import STATUS, error_value, headers_of
from serve_app.api.rest.experiment_endpoints import add_experiment_endpoints
from serve_app.api.rest.model_endpoints import add_model_endpoints
from serve_app.api.rest.prediction_endpoints import prediction_endpoints
from serve_app.api.rest.slices import TimeSlices
from serve_app.api.services import Services
from serve_app.data_plane.timing import TimingSection
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import ServingError

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

CLIENT_CLOSED_REQUEST = 499
"""The status that proxies log for a client that disconnected before the response."""


class RestApi(FastAPI):
    """Serves the endpoints on its fast path without FastAPI's layers.

    Those layers cost 0.1 ms per request, and the prediction endpoints need them only for
    documentation.

    Args:
        title: title of the OpenAPI document.
        description: description in the OpenAPI document.
        count: receives the path and the status of each response on the fast path.
        control: identifies the callers of every endpoint.
    """

    def __init__(
        self,
        title: str,
        description: str,
        count: Callable[[str, int], None],
        control: AccessControl,
    ) -> None:
        super().__init__(title=title, description=description, redirect_slashes=False)
        self._fast_endpoints: dict[tuple[str, str], Endpoint] = {}
        self._count = count
        self._guard = AccessGuard(self._serve, self.routes, control)

    def add_fast_path(self, path: str, endpoint: Endpoint) -> None:
        """Serve POST to `path` with `endpoint` alone.

        The app must already document the endpoint.
        """
        self._fast_endpoints["POST", path] = endpoint

    def has_fast_path(self, scope: Scope) -> bool:
        """Return whether a request is for an endpoint on the fast path."""
        return self._fast_endpoint(scope) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, from whichever port it arrives."""
        if self._fast_endpoint(scope) is not None:
            send = self._counted(scope["path"], send)
        await self._guard(scope, receive, send)

    def _counted(self, path: str, send: Send) -> Send:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(path, message["status"])
            await send(message)

        return send_counted

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._fast_endpoint(scope)
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except ServingError as error:
            response = await _on_serving_error(request, error)
        except ClientDisconnect as error:
            response = await _on_disconnect(request, error)
        except Exception as error:  # noqa: BLE001  the handler logs it
            response = await _on_unexpected_error(request, error)
        await response(scope, receive, send)

    def _fast_endpoint(self, scope: Scope) -> Endpoint | None:
        return self._fast_endpoints.get((scope.get("method", ""), scope.get("path", "")))


def build_rest_api(
    services: Services,
    max_body_bytes: int,
    observe: Callable[[Mapping[TimingSection, float]], None],
    count: Callable[[str, int], None],
    control: AccessControl,
) -> RestApi:
    """Return the ASGI application in front of the core.

    Args:
        services: the core.
        max_body_bytes: the largest body that is read.
        observe: receives the timing sections of every served prediction, in seconds.
        count: receives the path and the status of every request for predictions.
        control: identifies callers and counts their requests.
    """
    app = RestApi("tradeserve", "Predictions for trading bots.", count, control)
    slices = TimeSlices()
    endpoints = prediction_endpoints(services, max_body_bytes, observe, slices)
    for path, endpoint, documentation in endpoints:
        app.post(path, **documentation)(endpoint)
        app.add_fast_path(path, endpoint)
    add_model_endpoints(app, services, max_body_bytes)
    add_experiment_endpoints(app, services, max_body_bytes, slices)
    _complete_document(app)
    app.add_exception_handler(ServingError, _on_serving_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected_error)
    return app


def _complete_document(app: FastAPI) -> None:
    """Add the bodies, which endpoints parse themselves, and the roles to the OpenAPI document."""
    framework_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        document = framework_openapi()
        components = document["components"]
        components["schemas"].update(schemas.body_schemas())
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                roles = ROLES[method.upper(), path]
                # OpenAPI 3.1 lists the roles here; a token with one of them is accepted.
                operation["security"] = [
                    *({"token": [role.value]} for role in sorted(roles)),
                    *([{}] if roles is PUBLIC else []),
                ]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


async def _on_serving_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    return json_response({"error": error_value(error)}, STATUS[type(error)], headers_of(error))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)  # for the metrics; the client has left


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "no_such_endpoint", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "http_error")
    path = ascii(request.scope["path"][:MAX_SHOWN])
    message = f"{request.method} {path}: {error.detail}; see /docs for the endpoints"
    body = {"error": {"code": code, "message": message}}
    return json_response(body, error.status_code, error.headers)


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    name = request.headers.get("x-request-id", "without an X-Request-ID")
    logger.exception(
        "%s %s (%s) failed", request.method, request.scope["path"], name, exc_info=error
    )
    message = "the server failed on this request; its log has the details"
    return json_response({"error": {"code": "internal_error", "message": message}}, 500)
