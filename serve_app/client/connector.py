"""Opens connections within a limit, and states the time left in the request that follows."""

from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from serve_app.client.deadlines import Deadline, FairTimeout

DEADLINE_HEADER = "X-Deadline-Ms"
"""The time in milliseconds, from the moment of sending, after which a response is of no use."""


@dataclass(slots=True)
class Attempt:
    """One attempt of a call."""

    deadline: Deadline
    connect_timeout_s: float
    is_connected: bool = False
    """Whether there was a connection, so that the request could be sent."""


ATTEMPT: ContextVar[Attempt] = ContextVar("attempt")
"""The attempt of the running task."""


class Connector(aiohttp.TCPConnector):
    """A pool of connections that limits the time to connect fairly.

    aiohttp's own limit counts the time for which the bot's event loop is busy: with 200 bots that
    connect at once it ends attempts whose connections have long been accepted.
    """

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 as aiohttp declares it
    ) -> Connection:
        """Return a connection for the running task's attempt.

        Raises:
            TimeoutError: there was none within the attempt's `connect_timeout_s`, or half of the
                time left, so that an attempt to connect fails before the call does.
        """
        attempt = ATTEMPT.get()
        limit_s = min(attempt.connect_timeout_s, attempt.deadline.left_s() / 2)
        async with FairTimeout(limit_s):
            connection = await super().connect(req, traces, timeout)
        attempt.is_connected = True
        if attempt.deadline.is_sent:
            left_ms = int(attempt.deadline.left_s() * 1e3)
            req.headers[DEADLINE_HEADER] = str(max(1, left_ms))
        return connection
