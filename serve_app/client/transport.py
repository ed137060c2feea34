"""One HTTP call with a deadline: sends, retries what may pass, turns failures into errors."""

import asyncio
import itertools
import random
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

import aiohttp
import orjson

from serve_app.client.encoding import Body
from serve_app.errors import (
    ClientError,
    DeadlineExceededError,
    ServerRejectedError,
    ServerUnreachableError,
    UnexpectedResponseError,
)

_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5
_MAX_CONNECTIONS = 100
_KEEPALIVE_S = 30.0
_MAX_MESSAGE_CHARACTERS = 200
_UNAVAILABLE = 503
_GOES_ON = {"X-Request-Disconnect-Disabled": "?1"}
"""Tells the server not to watch whether we leave before the answer, which costs it time."""

_PROXY_STATUSES = {404, 500, 502, 504}


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which a call has ended, whatever it retried until then."""

    total_s: float
    ends_s: float
    """In the time of `time.monotonic`."""

    @classmethod
    def after(cls, total_s: float) -> Self:
        """Return the deadline of a call that starts now."""
        return cls(total_s, time.monotonic() + total_s)

    def left_s(self) -> float:
        """Return what is left of it; negative when it has passed."""
        return self.ends_s - time.monotonic()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    body: bytes
    retry_after: str | None


class Transport:
    """Keeps one session of connections to `server_url` for each event loop it is used in."""

    def __init__(self, server_url: str, connect_timeout_s: float) -> None:
        self.server_url = server_url
        self._connect_timeout_s = connect_timeout_s
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    async def open(self) -> aiohttp.ClientSession:
        """Return the running loop's session; a new one if it has none."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = self._new_session()
            await self._close_sessions_of_closed_loops()
        return session

    async def close(self) -> None:
        """Close the running loop's connections, if there are any."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()
        await self._close_sessions_of_closed_loops()

    async def call(self, method: str, path: str, body: Body | None, deadline: Deadline) -> object:
        """Return the JSON of a 200 answer.

        Connection errors, 503 and a proxy's own errors are retried until `deadline`, after the
        server's Retry-After where that fits in, else after a growing wait; one that would pass it
        is not begun. The server may therefore see one call twice, which is harmless for
        predictions.

        Raises:
            ServerUnreachableError: no connection, or it broke, until no time was left to retry.
            DeadlineExceededError: the server was reached and did not answer in time.
            ServerRejectedError: the server answered with an error.
            UnexpectedResponseError: the answer is not JSON, or no HTTP at all.
        """
        url = self.server_url + path
        target = url if body is None or not body.query else f"{url}?{body.query}"
        session = await self.open()
        failure: ClientError | None = None
        for attempt in itertools.count():
            left_s = deadline.left_s()
            if left_s <= 0:
                raise failure or DeadlineExceededError(url, deadline.total_s)
            if session.closed:
                raise ServerUnreachableError(url, "cleanup was called meanwhile") from failure
            pause_s = 0.0
            try:
                async with asyncio.timeout(left_s):
                    answer = await _send(session, method, target, body, self._timeout(left_s))
            # Before TimeoutError: a connect timeout is both, and may be retried.
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                failure = ServerUnreachableError(self.server_url, _problem_of(error))
            except TimeoutError:
                # What failed before says more than that the rest of the time did not do either.
                raise failure or DeadlineExceededError(url, deadline.total_s) from None
            except aiohttp.ClientError as error:
                raise UnexpectedResponseError(url, _problem_of(error)) from error
            else:
                if not _may_pass(answer):
                    return _content_of(url, answer)
                failure = _rejection(answer)
                pause_s = retry_after_s(answer.retry_after)
            wait_s = backoff_s(attempt, random.random())  # noqa: S311 no secret
            # The server counts in whole seconds; a deadline shorter than that is still used up.
            if wait_s < pause_s < deadline.left_s():
                wait_s = pause_s
            if wait_s >= deadline.left_s():
                raise failure
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable: the loop ends by returning or raising")

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=_MAX_CONNECTIONS,
            keepalive_timeout=_KEEPALIVE_S,
            # `localhost` has two addresses: leave time for the second within the timeout.
            happy_eyeballs_delay=self._connect_timeout_s / 4,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    def _timeout(self, left_s: float) -> aiohttp.ClientTimeout:
        """Limit one attempt to connect, so that its own reason comes before the deadline's.

        The whole call is not limited here: aiohttp rounds long limits up to whole seconds.
        """
        sock_connect_s = min(self._connect_timeout_s, left_s / 2)
        return aiohttp.ClientTimeout(total=None, sock_connect=sock_connect_s)

    async def _close_sessions_of_closed_loops(self) -> None:
        for loop in list(self._sessions):
            if loop.is_closed():
                await self._sessions.pop(loop).close()


def backoff_s(attempt: int, jitter: float) -> float:
    """Return the wait after failed attempt number `attempt` (from 0): it doubles, up to 0.5 s.

    `jitter` in [0, 1) takes up to half of it away, so that bots do not come back in step.
    """
    longest_s = min(_FIRST_WAIT_S * 2.0 ** min(attempt, 10), _LONGEST_WAIT_S)
    return longest_s * (1 - jitter / 2)


def retry_after_s(header: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 without one, or where it is a date."""
    return float(header) if header is not None and header.isdecimal() else 0.0


async def _send(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    body: Body | None,
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 only of connecting; the deadline is outside
) -> Answer:
    async with session.request(
        method,
        url,
        # aiohttp warns of plain bytes above 1 MiB, which a batch can have.
        data=None if body is None else BytesIO(body.content),
        headers=None if body is None else {"Content-Type": body.content_type, **_GOES_ON},
        allow_redirects=False,
        timeout=timeout,
    ) as response:
        return Answer(response.status, await response.read(), response.headers.get("Retry-After"))


def _may_pass(answer: Answer) -> bool:
    """Tell whether a later try may succeed: 503, or an error that is not the server's own words.

    While the server's proxy or a replica restarts, the proxy answers in its place, in plain text.
    """
    if answer.status == _UNAVAILABLE:
        return True
    return answer.status in _PROXY_STATUSES and _error_of(answer) is None


def _error_of(answer: Answer) -> dict[str, Any] | None:
    """Return the server's own account of an error, None where the body has none."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def _content_of(url: str, answer: Answer) -> object:
    if answer.status >= 400:
        raise _rejection(answer)
    if answer.status != 200:
        raise UnexpectedResponseError(url, f"expected status 200, received {answer.status}")
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise UnexpectedResponseError(url, f"expected JSON ({error})") from None


def _rejection(answer: Answer) -> ServerRejectedError:
    """Return the server's own words; of a body that has none (a proxy's, say) its first ones."""
    error = _error_of(answer)
    if error is not None:
        details = dict(error)
        code, message = details.pop("code", "http_error"), details.pop("message", "no message")
        return ServerRejectedError(answer.status, str(code), str(message), details)
    text = " ".join(answer.body.decode(errors="replace").split())
    message = text[:_MAX_MESSAGE_CHARACTERS] or "no message"
    return ServerRejectedError(answer.status, "http_error", message, {})


def _problem_of(error: Exception) -> str:
    return str(error) or type(error).__name__
