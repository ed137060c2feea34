"""Admits requests: the caller, the role that its endpoint requires, and the quota of its token.

One table states which roles permit each endpoint. A request for no endpoint needs a token like any
other, if the server requires one, before it learns that there is no such endpoint.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.access.callers import Caller, require_role
from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits, Quota
from serve_app.access.roles import Role
from serve_app.api.rest.encoding import error_response
from serve_app.errors import InvalidTokenError, ServingError

Roles = frozenset[Role]

PUBLIC: Roles = frozenset()
"""Marks endpoints that need no token."""

_PREDICT = frozenset({Role.PREDICT})
_READ = frozenset({Role.OBSERVE, Role.OPERATE})
_OPERATE = frozenset({Role.OPERATE})
_INGEST = frozenset({Role.INGEST})

ROLES: Mapping[tuple[str, str], Roles] = {
    ("POST", "/api/ml/predict"): _PREDICT,
    ("POST", "/api/ml/predict/batch"): _PREDICT,
    ("POST", "/api/ml/predict/series"): _PREDICT,
    ("POST", "/api/ml/outcomes"): _PREDICT,
    ("GET", "/api/ml/models"): _PREDICT | _READ,
    ("POST", "/api/ml/models/reload"): _OPERATE,
    ("GET", "/api/ml/ab-test"): _READ,
    ("POST", "/api/ml/ab-test/create"): _OPERATE,
    ("GET", "/api/ml/ab-test/{experiment_id}/analyze"): _READ,
    ("GET", "/api/ml/ab-test/{experiment_id}/evidence"): _READ,
    ("POST", "/api/ml/ab-test/{experiment_id}/stop"): _OPERATE,
    ("POST", "/api/ml/bars"): _INGEST,
    ("GET", "/api/ml/bars/{symbol}"): _INGEST | _PREDICT | _READ,
    ("GET", "/api/ml/symbols"): _INGEST | _PREDICT | _READ,
    ("GET", "/api/ml/stream"): _PREDICT | _READ,
    ("GET", "/api/ml/features/{symbol}"): _PREDICT | _READ,
    ("GET", "/health"): PUBLIC,
    ("GET", "/health/live"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/api/ml/health"): PUBLIC,
    # Static: they describe the endpoints and contain no data of this server.
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/{name}"): PUBLIC,
    ("GET", "/redoc"): PUBLIC,
}
"""The roles of which a caller needs one, by method and path."""

BROWSER_HEADERS = {b"origin", b"sec-fetch-site", b"sec-fetch-mode"}
"""Headers that a browser sends with the requests of a page, and that a page cannot suppress."""


class AccessGuard:
    """Passes admitted requests to an application, and responds to the others.

    The caller of an admitted request is in its scope: see `caller_of`.

    Args:
        app: serves admitted requests.
        routes: the endpoints of the application, each of which is in ROLES.
        control: identifies callers and counts their requests.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], control: AccessControl) -> None:
        self._app = app
        self._routes = routes
        self._control = control
        self._policy = policy_field(control.limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or reject it with 401, 403 or 429."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        quota: Quota | None = None
        try:
            roles = roles_for(scope, self._routes)
            if roles is not PUBLIC:
                secret, is_browser = credentials(scope)
                caller = self._control.identify(secret, is_browser=is_browser)
                if roles is not None:
                    require_role(caller, roles)
                scope["caller"] = caller
                quota = self._control.quota(caller)
                if quota is not None:
                    quota.begin()
        except ServingError as error:
            headers = {}
            if quota is not None:
                headers = {"RateLimit-Policy": self._policy, "RateLimit": remaining_field(quota)}
            await error_response(error, headers)(scope, receive, send)
            return
        if quota is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, self._with_quota(send, quota))
        finally:
            quota.end()

    def _with_quota(self, send: Send, quota: Quota) -> Send:
        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"ratelimit-policy", self._policy.encode()),
                    (b"ratelimit", remaining_field(quota).encode()),
                ]
            await send(message)

        return send_with_quota


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Return the caller of an admitted request to an endpoint that is not public."""
    caller: Caller = scope["caller"]
    return caller


def roles_for(scope: Scope, routes: Sequence[BaseRoute]) -> Roles | None:
    """Return the roles that permit a request, None if it is for no endpoint."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    roles = ROLES.get((method, scope["path"]))
    if roles is not None:
        return roles
    for route in routes:
        # The framework's own decision: another pattern might differ in a detail.
        if route.matches(scope)[0] is Match.FULL:
            return ROLES[method, route.path_format]  # type: ignore[attr-defined]  # every kind has it
    return None


def credentials(scope: Scope) -> tuple[bytes | None, bool]:
    """Return the token of a request, None without one, and whether a web page sent the request.

    Raises:
        InvalidTokenError: the request has an Authorization header of another form.
    """
    authorization: bytes | None = None
    is_browser = False
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                raise InvalidTokenError("expected one Authorization header, received several")
            authorization = value
        elif name in BROWSER_HEADERS:
            is_browser = True
    if authorization is None:
        return None, is_browser
    scheme, _, secret = authorization.partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret:
        raise InvalidTokenError("expected the form Authorization: Bearer TOKEN")
    return secret, is_browser


def policy_field(limits: Limits) -> str:
    """Return the RateLimit-Policy field, as draft-ietf-httpapi-ratelimit-headers-10 defines it.

    >>> policy_field(Limits(1000, 256))
    '"requests";q=1000;w=1, "concurrency";q=256;qu="concurrent-requests"'
    """
    policies = []
    if limits.requests_per_s is not None:
        policies.append(f'"requests";q={limits.requests_per_s};w=1')
    if limits.max_concurrent_requests is not None:
        policies.append(
            f'"concurrency";q={limits.max_concurrent_requests};qu="concurrent-requests"'
        )
    return ", ".join(policies)


def remaining_field(quota: Quota) -> str:
    """Return the RateLimit field: what is left of each policy, and when all of it is again."""
    limits, parts = quota.limits, []
    if limits.requests_per_s is not None:
        parts.append(f'"requests";r={quota.requests_left};t=1')
    if limits.max_concurrent_requests is not None:
        parts.append(f'"concurrency";r={limits.max_concurrent_requests - quota.in_flight}')
    return ", ".join(parts)
