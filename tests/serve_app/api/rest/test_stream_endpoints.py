"""The stream of predictions over HTTP."""

import asyncio
import json

import pytest

from serve_app.api.rest.app import build_rest_api
from serve_app.api.rest.schemas import StreamEvent
from serve_app.api.rest.stream_endpoints import parse_symbols
from serve_app.data_plane.decoding import Prediction, Probabilities
from serve_app.data_plane.live_results import LiveResult
from serve_app.errors import InvalidRequestError
from serve_app.settings import RouterSettings
from serve_app.versions import VersionRef
from tests.serve_app.core import core

BAR_MS = 1_767_571_200_000


def result(symbol):
    prediction = Prediction(1, 0.5, 0.25, probabilities=Probabilities(0.25, 0.5, 0.25))
    return LiveResult(
        VersionRef("toy", "1.0.0"), symbol, "1h", BAR_MS, BAR_MS + 5, BAR_MS, prediction
    )


async def test_events(control):
    """A reader receives each prediction of its symbols as one event, until it leaves."""
    services = core().services
    api = build_rest_api(services, RouterSettings(), print, print, control)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/ml/stream",
        "query_string": b"symbols=EURUSD",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "http_version": "1.1",
        "scheme": "http",
    }
    received, left = asyncio.Queue(), asyncio.Event()

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        received.put_nowait(message)

    serving = asyncio.create_task(api(scope, receive, send))
    start = await asyncio.wait_for(received.get(), 5)
    headers = dict(start["headers"])
    assert (start["status"], headers[b"content-type"]) == (
        200,
        b"text/event-stream; charset=utf-8",
    )
    assert (await received.get())["body"].startswith(b": ")
    services.stream.publish([result("GBPUSD"), result("EURUSD")])
    body = b": "
    while body.startswith(b": "):
        body = (await asyncio.wait_for(received.get(), 5))["body"]
    kind, data = body.decode().removesuffix("\n\n").split("\n")
    assert kind == "event: prediction"
    event = StreamEvent.model_validate(json.loads(data.removeprefix("data: ")))
    assert (event.symbol, event.prediction.direction) == ("EURUSD", 1)
    assert event.probabilities.BUY == 0.5
    left.set()
    await asyncio.wait_for(serving, 5)
    assert services.stream.readers == 0


@pytest.mark.parametrize("query", ["symbol=A", "symbols=", "symbols=A,,B", "symbols=a%20b"])
def test_invalid(query):
    """A query that names no symbols is rejected."""
    with pytest.raises(InvalidRequestError):
        parse_symbols(query)


def test_all_symbols():
    """Without symbols the stream has all of them."""
    assert parse_symbols("") == frozenset()
