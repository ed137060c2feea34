"""Rejects requests that a browser sends for a page of another server.

A page can make a browser send requests to any address. Two headers reveal it, and a page can set
neither: `Host` holds the name by which the browser found this server, which after DNS rebinding is
the page's own, and `Origin` holds the page's server. The responses forbid browsers to frame them,
to guess their type, and to cache them.
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.access.loopback import is_loopback
from serve_app.api.rest.encoding import error_response
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import (
    BodyTooLargeError,
    ForeignOriginError,
    RepeatedHostError,
    ServingError,
    UnknownHostError,
)

CONTENT_POLICY = b"content-security-policy"

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (CONTENT_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
)
"""The headers of every response, unless the response has its own."""

CLIENT_CLOSED_REQUEST = 499
"""The status that proxies log for a client that disconnected before the response."""

GUARDED = "tradeserve.guarded"
"""The key of a scope whose request has passed the guards."""


class HostRules:
    """Which names of this server, and which origins, requests may have.

    Args:
        names: the names and addresses under which clients reach the server, without a port;
            localhost and loopback addresses are always accepted.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(_normalised(name) for name in names)
        # A client repeats the same headers.
        self.check = lru_cache(maxsize=1024)(self._check)

    def _check(self, host: bytes, origin: bytes | None) -> None:
        """Check the Host and the Origin of a request; empty and None if it has none.

        Raises:
            UnknownHostError: the host is neither this machine nor one of the names.
            ForeignOriginError: the origin is another server.
        """
        authority = host.decode("latin-1").lower()
        if not self._is_own(_name_of(authority)):
            raise UnknownHostError(_shown(host))
        if origin is None:
            return
        try:
            page = urlsplit(origin.decode("latin-1").lower())
            name = _normalised(page.hostname or "")
        except ValueError:
            raise ForeignOriginError(_shown(origin)) from None
        if page.netloc != authority and name not in self._names:
            raise ForeignOriginError(_shown(origin))

    def _is_own(self, name: str | None) -> bool:
        return name is not None and (name in self._names or is_loopback(name))


class HostGuard:
    """Checks the Host and Origin of requests, and adds the security headers to all responses.

    Args:
        app: serves accepted requests.
        rules: which hosts and origins are accepted.
    """

    def __init__(self, app: ASGIApp, rules: HostRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or reject it with 400, 403 or 421."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts, origin = [], None
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origin = value
        try:
            if len(hosts) > 1:
                raise RepeatedHostError(len(hosts))
            host = hosts[0] if hosts else b""
            self._rules.check(host, origin)
        except ServingError as error:
            await reject(error, scope, receive, secured(send))
            return
        scope[GUARDED] = True
        await self._app(scope, receive, secured(send))


async def reject(error: ServingError, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to a request whose body has not been read.

    The connection is closed, except after a body that is too large: many clients read the response
    only once they have sent all of it.
    """
    headers = {} if isinstance(error, BodyTooLargeError) else {"Connection": "close"}
    await error_response(error, headers)(scope, receive, send)


def secured(send: Send) -> Send:
    """Return a function that sends responses with the security headers that they lack."""

    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            own = {name for name, _ in headers}
            headers += [field for field in SECURITY_HEADERS if field[0] not in own]
            message = {**message, "headers": headers}
        await send(message)

    return send_secured


def _name_of(authority: str) -> str | None:
    """Return the host in a Host header, without its port; None if it has no such form."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        return None
    if parts.netloc != authority or parts.username is not None:
        return None
    return _normalised(parts.hostname or "")


def _normalised(name: str) -> str:
    return name.lower().removesuffix(".").removeprefix("[").removesuffix("]")


def _shown(value: bytes) -> str:
    return ascii(value.decode("latin-1")[:MAX_SHOWN]) if value else "nothing"
