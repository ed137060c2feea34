"""A model server with scripted responses: the seam at which the client is tested."""

import asyncio
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import orjson
from aiohttp import web

ARROW = "application/vnd.apache.arrow.stream"
PREDICT = "/api/ml/predict"
BATCH = "/api/ml/predict/batch"
MODELS = "/api/ml/models"
RELOAD = "/api/ml/models/reload"
CREATE = "/api/ml/ab-test/create"
EXPERIMENTS = "/api/ml/ab-test"
OUTCOMES = "/api/ml/outcomes"
HEALTH = "/api/ml/health"
BARS = "/api/ml/bars"
SYMBOLS = "/api/ml/symbols"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: JSON unless `body` is bytes."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No response, on a connection that stays open."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The connection is closed instead of a response."""


class FakeServer:
    """Responds to each path with its scripted replies in order, and repeats the last one.

    `received` holds the JSON of every request by path, `authorizations` the header of every
    request; `reached` is set by the first request.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.content_types: list[str] = []
        self.authorizations: list[str | None] = []
        self.keys: list[str | None] = []
        """The Idempotency-Key of every request."""
        self.deadlines: list[str | None] = []
        """The X-Deadline-Ms of every request."""
        self.queries: list[dict[str, str]] = []
        """The query of every request."""
        self.reached = asyncio.Event()
        self.default: Reply | None = None
        """The reply to paths without a script."""
        self._port = port
        self._replies: dict[str, list[Any]] = {}
        self._stopped = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._respond)
        self._runner = web.AppRunner(app, shutdown_timeout=1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The address of the server."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    def script(self, path: str, *replies: Any) -> None:
        """Set the replies of a path: replies, or functions from the request's JSON to a reply."""
        self._replies[path] = list(replies)

    def _document(self, request: web.Request, body: bytes) -> Any:
        """Return a request as its JSON document, also for a raw body."""
        self.content_types.append(request.content_type)
        self.queries.append(dict(request.query))
        if request.content_type == ARROW:
            return body
        if request.content_type != "application/octet-stream":
            return json.loads(body) if body else None  # also the word NaN, as the server
        fields = dict(request.query)
        shape = [int(part) for part in fields.pop("shape", "-1").split(",")]
        header = request.headers.get("Content-Type", "")
        dtype = "<f8" if header.endswith("dtype=float64") else "<f4"
        return {**fields, "features": np.frombuffer(body, dtype).reshape(shape).tolist()}

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.authorizations.append(request.headers.get("Authorization"))
        self.keys.append(request.headers.get("Idempotency-Key"))
        self.deadlines.append(request.headers.get("X-Deadline-Ms"))
        document = self._document(request, body)
        self.received[request.path].append(document)
        self.reached.set()
        replies = self._replies.get(request.path) or [self.default]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if callable(reply):
            reply = reply(document)
        if isinstance(reply, NoResponse):
            await self._stopped.wait()
        if isinstance(reply, NoResponse | Disconnect):
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        content = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        return web.Response(body=content, status=reply.status, headers=reply.headers)


@contextmanager
def server_in_thread(path: str, reply: Any) -> Iterator[str]:
    """Run a server with one scripted path on a thread of its own, and return its URL.

    The reply is one of those of `FakeServer.script`.
    """
    started, stop = threading.Event(), asyncio.Event()
    urls: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with FakeServer() as server:
            server.script(path, reply)
            urls.append(server.url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def prediction(symbol: str = "BTCUSDT", direction: int = 1) -> dict[str, Any]:
    """Return the response for one window."""
    return {
        "symbol": symbol,
        "prediction": {"direction": direction, "confidence": 0.85, "expected_return": 0.025},
        "model_name": "hybrid_cnn_lstm",
        "model_version": "1.0.0",
        "variant": None,
        "prediction_id": "0" * 32,
        "latency_ms": 3.5,
        "timestamp": "2025-11-06T12:00:00+00:00",
    }


def batch_of(document: Any) -> Reply:
    """Return the reply to every request of a batch."""
    predictions = [prediction(request["symbol"]) for request in document["requests"]]
    return Reply({"predictions": predictions, "succeeded": len(predictions), "failed": 0})


def error(code: str, message: str, **details: Any) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": {"code": code, "message": message, **details}}
