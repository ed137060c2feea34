"""The stream of predictions of ModelClient."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Iterable
from typing import Any
from urllib.parse import urlencode

import orjson

from serve_app.client.calls import Calls
from serve_app.client.transport import Transport, backoff_s
from serve_app.errors import ServerRejectedError, ServerUnreachableError, UnexpectedResponseError

logger = logging.getLogger(__name__)

IDLE_S = 40.0
"""Time without an event or a heartbeat after which the connection counts as broken; the server
sends a heartbeat every 15 s."""

RETRIED = (429, 503)


class StreamCalls(Calls):
    """Predictions by symbol as they are made."""

    _transport: Transport

    async def stream(self, symbols: Iterable[str] = ()) -> AsyncGenerator[dict[str, Any], None]:
        """Yield each prediction by symbol as it is made, by any served version.

        A connection that breaks is opened again; predictions made meanwhile are missed, and
        `predict` returns the newest one. A bot that reads slowly loses the oldest ones.

        Args:
            symbols: names of symbols; all by default.

        Raises:
            ServerRejectedError: the server rejects the request; only with `raise_errors`, otherwise
                the stream ends.
        """
        names = ",".join(symbols)
        query = f"?{urlencode({'symbols': names})}" if names else ""
        attempt = 0
        with self._report_failure("stream"):
            while True:
                events = self._transport.events(f"/api/ml/stream{query}", IDLE_S)
                try:
                    async for data in events:
                        attempt = 0
                        yield _event(self.server_url, data)
                except ServerUnreachableError as error:
                    logger.warning("stream interrupted: %s", error)
                except ServerRejectedError as error:
                    if error.status not in RETRIED:
                        raise
                    logger.warning("stream interrupted: %s", error)
                finally:
                    await events.aclose()
                await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311  no secret
                attempt += 1


def _event(url: str, data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnexpectedResponseError(url, f"expected JSON ({error})") from None
    if not isinstance(event, dict):
        raise UnexpectedResponseError(url, "expected a JSON object as an event")
    return event
