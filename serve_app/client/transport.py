"""One HTTP call with a deadline: sends it, retries transient failures, maps failures to errors."""

import asyncio
import itertools
import logging
import os
import random
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self

import aiohttp
import orjson

from serve_app.client.connector import ATTEMPT, Attempt, Connector
from serve_app.client.credentials import Credentials
from serve_app.client.deadlines import Deadline, FairTimeout
from serve_app.client.encoding import Body
from serve_app.errors import (
    ClientError,
    DeadlineExceededError,
    ServerRejectedError,
    ServerUnreachableError,
    UnexpectedResponseError,
)

logger = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5
_MAX_CONNECTIONS = 100
_KEEPALIVE_S = 30.0
_MAX_MESSAGE_CHARACTERS = 200
_UNAVAILABLE = 503
_TOO_MANY_REQUESTS = 429
_KEY_HEADER = "Idempotency-Key"
_DATA = b"data: "
_KEEP_WORKING = {"X-Request-Disconnect-Disabled": "?1"}
"""Header by which the server does not watch for a disconnect of the client, which would cost it
time."""

_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Errors before there was a connection; all others broke one."""

_NO_TIMEOUT = aiohttp.ClientTimeout()
"""The connector limits the time to connect, and the caller that of the attempt."""

_PROXY_STATUSES = {404, 500, 502, 504}
"""Statuses that a proxy returns while the server or a replica restarts."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response of any status."""

    status: int
    body: bytes
    retry_after: str | None


@dataclass(frozen=True, slots=True)
class _OpenedSession:
    session: aiohttp.ClientSession
    closing: AsyncGenerator[None, None]
    """Closes the session when it is closed itself."""
    slots: asyncio.Semaphore
    """Limits the requests in flight, and so the connections. With aiohttp's own limit, the wait for
    another request to end would count as time to connect."""


@dataclass(frozen=True, slots=True)
class _Sessions:
    """The sessions that were opened in one process."""

    process: int
    by_loop: dict[asyncio.AbstractEventLoop, _OpenedSession] = field(default_factory=dict)
    inherited: Self | None = None
    """The sessions of the process that was forked, kept so that they are never closed here."""


class Transport:
    """Keeps one session of connections to `server_url` per event loop that uses it.

    Loops may run in several threads at once: only the loop of a session uses and removes it, and
    each access to the shared dict is one atomic operation.

    Args:
        server_url: the server.
        connect_timeout_s: limit of one attempt to connect.
        credentials: the token of each call.
        tls: how the certificate of an https server is verified.
        proxy: the URL of the HTTP proxy in front of the server; None calls the server directly,
            whatever the environment's variables for proxies contain.
    """

    def __init__(
        self,
        server_url: str,
        connect_timeout_s: float,
        credentials: Credentials,
        tls: ssl.SSLContext | bool = True,
        proxy: str | None = None,
    ) -> None:
        self.server_url = server_url
        self._proxy = proxy
        self._credentials = credentials
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._sessions = _Sessions(os.getpid())
        self._unreachable_from_s: float | None = None

    async def open(self) -> None:
        """Open the session of the running loop, unless it is open."""
        await self._opened()

    async def _opened(self) -> _OpenedSession:
        if self._sessions.process != os.getpid():
            # After a fork the sockets are the parent's, which closing them would disturb.
            self._sessions = _Sessions(os.getpid(), inherited=self._sessions)
        loop = asyncio.get_running_loop()
        opened = self._sessions.by_loop.get(loop)
        if opened is None:
            session = self._new_session()
            opened = self._sessions.by_loop[loop] = _OpenedSession(
                session, _until_closed(session), asyncio.Semaphore(_MAX_CONNECTIONS)
            )
            await anext(opened.closing)
            await self._close_sessions_of_closed_loops()
        return opened

    async def close(self) -> None:
        """Close the running loop's connections, if there are any."""
        opened = self._sessions.by_loop.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened.closing.aclose()
        await self._close_sessions_of_closed_loops()

    async def call(
        self,
        method: str,
        path: str,
        body: Body | None,
        deadline: Deadline,
        key: str | None = None,
    ) -> object:
        """Return the JSON of a 200 response.

        Connection errors, 429, 503 and a proxy's own errors are retried until `deadline`: after the
        server's Retry-After if the deadline permits it, else after an exponential backoff. A wait
        that would exceed the deadline does not start. The server may therefore receive a call
        twice, which is harmless for predictions. A command carries a `key`, the same for each
        attempt, by which the server executes it once.

        Raises:
            ServerUnreachableError: there was no connection, or it broke, until the deadline, or
                there was none for the deadline's `unreachable_s`.
            DeadlineExceededError: the server was reached and did not respond in time.
            ServerRejectedError: the server responded with an error.
            UnexpectedResponseError: the response is not JSON, or not HTTP.
        """
        try:
            content = await self._repeat(method, path, body, deadline, key)
        except ServerUnreachableError:
            if self._unreachable_from_s is None:
                self._unreachable_from_s = time.monotonic()
            raise
        if self._unreachable_from_s is not None:
            outage_s = time.monotonic() - self._unreachable_from_s
            self._unreachable_from_s = None
            logger.info("server %s responds again after %.1f s", self.server_url, outage_s)
        return content

    async def events(self, path: str, idle_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the data of each server-sent event of one response, until it ends.

        Args:
            path: the path and the query.
            idle_s: the time without any data after which the connection counts as broken.

        Raises:
            ServerUnreachableError: there was no connection, or it broke.
            ServerRejectedError: the server responded with an error.
        """
        opened = await self._opened()
        ATTEMPT.set(Attempt(Deadline.after(idle_s), self._connect_timeout_s))
        try:
            async with opened.session.get(
                self.server_url + path,
                headers=self._credentials.headers(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_read=idle_s),
            ) as received:
                if received.status != 200:
                    body = await received.read()
                    raise _rejection(Response(received.status, body, None))
                data = b""
                async for line in received.content:
                    if line.startswith(_DATA):
                        data = line.removeprefix(_DATA).rstrip(b"\r\n")
                    elif not line.strip() and data:
                        yield data
                        data = b""
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerUnreachableError(self.server_url, _problem_of(error)) from error

    async def _repeat(
        self, method: str, path: str, body: Body | None, deadline: Deadline, key: str | None
    ) -> object:
        url = self.server_url + path
        keyed = {} if key is None else {_KEY_HEADER: key}
        target = url if body is None or not body.query else f"{url}?{body.query}"
        opened = await self._opened()
        failure: ClientError | None = None
        connected_s = time.monotonic()
        for attempt in itertools.count():
            left_s = deadline.left_s()
            if left_s <= 0:
                raise failure or DeadlineExceededError(url, deadline.total_s)
            pause_s = 0.0
            credentials = self._credentials.headers()
            this = Attempt(deadline, self._connect_timeout_s)
            try:
                async with FairTimeout(left_s), opened.slots:
                    if opened.session.closed:
                        problem = "cleanup was called during the call"
                        raise ServerUnreachableError(url, problem) from failure
                    ATTEMPT.set(this)
                    headers = {**keyed, **credentials}
                    response = await _send(opened.session, method, target, body, headers)
            # Before TimeoutError: a connect timeout is both, and may be retried.
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                failure = ServerUnreachableError(self.server_url, _problem_of(error))
                if not isinstance(error, _NOT_CONNECTED):
                    connected_s = time.monotonic()
            except TimeoutError:
                # An earlier failure is a more specific reason than the end of the time, unless it
                # was to reach the server, which this attempt has reached.
                if isinstance(failure, ServerUnreachableError) and this.is_connected:
                    failure = None
                raise failure or DeadlineExceededError(url, deadline.total_s) from None
            except aiohttp.ClientError as error:
                raise UnexpectedResponseError(url, _problem_of(error)) from error
            else:
                if self._credentials.respond_to(response.status, credentials):
                    continue  # the server has not acted on a request that it did not admit
                if not _is_transient(response):
                    return _content_of(url, response)
                failure, connected_s = _rejection(response), time.monotonic()
                pause_s = retry_after_s(response.retry_after)
            wait_s = backoff_s(attempt, random.random())  # noqa: S311 no secret
            # Retry-After has whole seconds: with a shorter deadline, retry within it nevertheless.
            if wait_s < pause_s < deadline.left_s():
                wait_s = pause_s
            is_unreachable = time.monotonic() - connected_s >= deadline.unreachable_s
            if is_unreachable or wait_s >= deadline.left_s():
                raise failure
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable: the loop ends by returning or raising")

    def _new_session(self) -> aiohttp.ClientSession:
        connector = Connector(
            limit=0,
            keepalive_timeout=_KEEPALIVE_S,
            # `localhost` has two addresses; both must be tried within the timeout.
            happy_eyeballs_delay=self._connect_timeout_s / 4,
            ssl=self._tls,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
            trust_env=False,  # the default, stated since a proxy must never capture loopback
        )

    async def _close_sessions_of_closed_loops(self) -> None:
        for loop in list(self._sessions.by_loop):
            # Another thread may do the same, and one of the two removes the session.
            if loop.is_closed() and (opened := self._sessions.by_loop.pop(loop, None)):
                await opened.closing.aclose()


async def _until_closed(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Close `session` when this generator is closed, by `cleanup` or at the end of its loop.

    `asyncio.run` closes the generators of its loop last, so that `asyncio.run(client.predict(…))`
    leaves no open connection.
    """
    try:
        yield
    finally:
        await session.close()


def backoff_s(attempt: int, jitter: float) -> float:
    """Return the wait after failed attempt number `attempt` (from 0): it doubles, up to 0.5 s.

    `jitter` in [0, 1) subtracts up to half of it, so that bots do not retry in lockstep.

    >>> [backoff_s(attempt, jitter=0.0) for attempt in (0, 1, 2, 10)]
    [0.01, 0.02, 0.04, 0.5]
    """
    longest_s = min(_FIRST_WAIT_S * 2.0 ** min(attempt, 10), _LONGEST_WAIT_S)
    return longest_s * (1 - jitter / 2)


def retry_after_s(header: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 without one, or if it is a date."""
    return float(header) if header is not None and header.isdecimal() else 0.0


async def _send(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    body: Body | None,
    headers: Mapping[str, str],
) -> Response:
    async with session.request(
        method,
        url,
        # aiohttp warns about plain bytes above 1 MiB, which a batch may exceed.
        data=None if body is None else BytesIO(body.content),
        headers=headers
        if body is None
        else {"Content-Type": body.content_type, **_KEEP_WORKING, **headers},
        allow_redirects=False,
        timeout=_NO_TIMEOUT,
    ) as received:
        return Response(received.status, await received.read(), received.headers.get("Retry-After"))


def _is_transient(response: Response) -> bool:
    """Return whether a retry may succeed: after 429, 503, or an error that is not the server's.

    While the server or a replica restarts, the proxy responds in its place, in plain text.
    """
    if response.status in (_UNAVAILABLE, _TOO_MANY_REQUESTS):
        return True
    return response.status in _PROXY_STATUSES and _error_of(response) is None


def _error_of(response: Response) -> dict[str, Any] | None:
    """Return the error object of the server, None if the body has none."""
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def _content_of(url: str, response: Response) -> object:
    if response.status >= 400:
        raise _rejection(response)
    if response.status != 200:
        raise UnexpectedResponseError(url, f"expected status 200, received {response.status}")
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise UnexpectedResponseError(url, f"expected JSON ({error})") from None


def _rejection(response: Response) -> ServerRejectedError:
    """Return the error of the server; of another sender, such as a proxy, the start of its body."""
    error = _error_of(response)
    if error is not None:
        details = dict(error)
        code, message = details.pop("code", "http_error"), details.pop("message", "no message")
        return ServerRejectedError(response.status, str(code), str(message), details)
    text = " ".join(response.body.decode(errors="replace").split())
    message = text[:_MAX_MESSAGE_CHARACTERS] or "no message"
    return ServerRejectedError(response.status, "http_error", message, {})


def _problem_of(error: Exception) -> str:
    return str(error) or type(error).__name__
