"""The endpoint that streams predictions by symbol as server-sent events."""

from collections.abc import AsyncIterator, Collection
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from features.bars import Symbol
from features.errors import InvalidSymbolError
from serve_app.api.rest import schemas
from serve_app.api.rest.encoding import live_document
from serve_app.api.services import Services
from serve_app.data_plane.live_stream import LiveStream
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import InvalidRequestError

EVENTS = "text/event-stream"
HEARTBEAT = b": no prediction\n\n"
"""A comment, which clients ignore."""

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Proxies must pass each event on at once."""


def add_stream_endpoints(app: FastAPI, services: Services) -> None:
    """Add the endpoint."""

    @app.get(
        "/api/ml/stream",
        response_class=StreamingResponse,
        responses=schemas.responses_of_stream(),
        openapi_extra={"parameters": schemas.parameters_of_stream()},
    )
    async def stream(request: Request) -> Response:
        """Send each prediction by symbol as it is made, as server-sent events."""
        symbols = parse_symbols(request.scope["query_string"].decode("latin-1"))
        return StreamingResponse(
            _events(services.stream, symbols), media_type=EVENTS, headers=HEADERS
        )


def parse_symbols(query: str) -> Collection[str]:
    """Return the symbols of a query; none for all.

    >>> sorted(parse_symbols("symbols=EURUSD,BTC%2FUSDT"))
    ['BTC/USDT', 'EURUSD']

    Raises:
        InvalidRequestError: the query has another field, or a text that cannot name a symbol.
    """
    names: set[str] = set()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "symbols":
            raise InvalidRequestError("query", "symbols", f"the unknown {name[:MAX_SHOWN]!a}")
        try:
            names.update(Symbol(symbol) for symbol in value.split(","))
        except InvalidSymbolError as error:
            expected = "names of symbols, separated by commas"
            raise InvalidRequestError("symbols", expected, f"{error.received[:40]!a}") from None
    return frozenset(names)


async def _events(stream: LiveStream, symbols: Collection[str]) -> AsyncIterator[bytes]:
    async for result in stream.follow(symbols):
        if result is None:
            yield HEARTBEAT
        else:
            yield b"event: prediction\ndata: %b\n\n" % orjson.dumps(live_document(result))
