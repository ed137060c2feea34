"""The ASGI application of the REST front end."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.access.control import AccessControl
from serve_app.api.rest import schemas
from serve_app.api.rest.access import PUBLIC, ROLES, AccessGuard, roles_for
from serve_app.api.rest.bar_endpoints import add_bar_endpoints
from serve_app.api.rest.body_guard import BodyGuard, BodyLimits, BodyMemory
from serve_app.api.rest.deadlines import DeadlineGuard, counted
from serve_app.api.rest.docs_pages import add_docs_pages
from serve_app.api.rest.encoding import error_response, json_response
from serve_app.api.rest.experiment_endpoints import add_experiment_endpoints
from serve_app.api.rest.feature_endpoints import add_feature_endpoints
from serve_app.api.rest.hosts import CLIENT_CLOSED_REQUEST, GUARDED, HostGuard, HostRules
from serve_app.api.rest.model_endpoints import add_model_endpoints
from serve_app.api.rest.prediction_endpoints import prediction_endpoints
from serve_app.api.rest.series_endpoints import add_series_endpoints
from serve_app.api.rest.slices import TimeSlices
from serve_app.api.rest.stream_endpoints import add_stream_endpoints
from serve_app.api.services import Services
from serve_app.data_plane.deadlines import Pace
from serve_app.data_plane.timing import TimingSection
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import ServingError
from serve_app.settings import RouterSettings

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class Guards(Protocol):
    """Puts the guards of requests in front of an application."""

    def __call__(self, app: ASGIApp, routes: Sequence[BaseRoute], *, reads_body: bool) -> ASGIApp:
        """Return the guards; without `reads_body` they leave the body unread."""


class RestApi(FastAPI):
    """Serves the endpoints on its fast path without FastAPI's layers.

    Those layers cost 0.1 ms per request, and the prediction endpoints need them only for
    documentation.

    Args:
        title: title of the OpenAPI document.
        description: description in the OpenAPI document.
        count: receives the path and the status of each response on the fast path.
        guards: puts the guards of every request in front of an application.
    """

    def __init__(
        self, title: str, description: str, count: Callable[[str, int], None], guards: Guards
    ) -> None:
        # A redirect would repeat the Host header. The pages about the endpoints are our own.
        super().__init__(
            title=title,
            description=description,
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
        )
        self._fast_endpoints: dict[tuple[str, str], Endpoint] = {}
        self._count = count
        self._guards = guards
        self._guarded = self.guarded(self._serve)

    def add_fast_path(self, path: str, endpoint: Endpoint) -> None:
        """Serve POST to `path` with `endpoint` alone.

        The app must already document the endpoint.
        """
        self._fast_endpoints["POST", path] = endpoint

    def has_fast_path(self, scope: Scope) -> bool:
        """Return whether a request is for an endpoint on the fast path."""
        return self._fast_endpoint(scope) is not None

    def is_endpoint(self, scope: Scope) -> bool:
        """Return whether a request is for any endpoint."""
        return scope["type"] == "http" and roles_for(scope, self.routes) is not None

    def guarded(self, app: ASGIApp) -> ASGIApp:
        """Return `app` behind the guards.

        They admit a request by its host, its caller, its deadline and its body, in this order. A
        body is read for endpoints only.
        """
        with_body = self._guards(app, self.routes, reads_body=True)
        without_body = self._guards(app, self.routes, reads_body=False)

        async def guarded_app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("method") == "HEAD":
                # Here, so that a HEAD needs the same token and role as its GET.
                scope, send = {**scope, "method": "GET"}, _without_body(send)
            if self._fast_endpoint(scope) is not None:
                await with_body(scope, receive, self._counted(scope["path"], send))
            elif self.is_endpoint(scope):
                await with_body(scope, receive, send)
            else:
                await without_body(scope, receive, send)

        return guarded_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, from whichever port it arrives, unless the guards reject it."""
        app = self._serve if GUARDED in scope else self._guarded
        await app(scope, receive, send)

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
    settings: RouterSettings,
    observe: Callable[[Mapping[TimingSection, float]], None],
    count: Callable[[str, int], None],
    control: AccessControl,
) -> RestApi:
    """Return the ASGI application in front of the core.

    Args:
        services: the core.
        settings: the limits on bodies, and the names of the server.
        observe: receives the timing sections of every served prediction, in seconds.
        count: receives the path and the status of every request for predictions.
        control: identifies callers and counts their requests.
    """
    rules = HostRules(settings.hosts)
    memory = BodyMemory(settings.max_bodies_bytes)
    limits = BodyLimits(
        largest=settings.max_body_bytes,
        largest_window=lambda: services.status.largest_window_bytes(),
    )

    pace = Pace()

    def guards(app: ASGIApp, routes: Sequence[BaseRoute], *, reads_body: bool) -> ASGIApp:
        if reads_body:
            app = DeadlineGuard(BodyGuard(counted(app, pace), limits, memory), pace)
        return HostGuard(AccessGuard(app, routes, control), rules)

    app = RestApi("tradeserve", "Predictions for trading bots.", count, guards)
    slices = TimeSlices()
    endpoints = prediction_endpoints(services, observe, slices)
    for path, endpoint, documentation in endpoints:
        app.post(path, **documentation)(endpoint)
        app.add_fast_path(path, endpoint)
    add_model_endpoints(app, services)
    add_experiment_endpoints(app, services, slices)
    add_bar_endpoints(app, services, slices)
    add_stream_endpoints(app, services)
    add_feature_endpoints(app, services)
    add_series_endpoints(app, services, slices)
    add_docs_pages(app)
    _complete_document(app)
    app.add_exception_handler(ServingError, _on_serving_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected_error)
    return app


def _without_body(send: Send) -> Send:
    """Return `send` for a response to HEAD, which has the headers of GET's response."""

    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers


def _complete_document(app: FastAPI) -> None:
    """Add the bodies, which endpoints parse themselves, and the roles to the OpenAPI document."""
    framework_openapi = app.openapi

    @cache
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
    return error_response(error)


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
