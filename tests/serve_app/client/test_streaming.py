"""The stream of predictions, against a server that breaks connections."""

import asyncio
import json

import pytest
from aiohttp import web

from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError, UnexpectedResponseError


@pytest.fixture
async def server():
    """A server that sends the scripted bodies one after the other, and then keeps silent."""
    scripted, queries = [], []

    async def respond(request):
        queries.append(dict(request.query))
        if scripted and isinstance(scripted[0], web.Response):
            return scripted.pop(0)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if scripted:
            await response.write(scripted.pop(0))
        else:
            await stopped.wait()
        return response

    stopped = asyncio.Event()
    app = web.Application()
    app.router.add_get("/api/ml/stream", respond)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield url, scripted, queries
    stopped.set()
    await runner.cleanup()


def event(number):
    return b"event: prediction\ndata: %b\n\n" % json.dumps({"bar": number}).encode()


async def first(client, count, *symbols):
    events = client.stream(symbols)
    try:
        async with asyncio.timeout(5):
            return [(await anext(events))["bar"] for _ in range(count)]
    finally:
        await events.aclose()


async def test_events(server):
    """Events are yielded in order, across comments and connections that end."""
    url, scripted, queries = server
    scripted += [b": heartbeat\n\n" + event(1) + event(2), b"", event(3)]
    async with ModelClient(url) as client:
        assert await first(client, 3, "EURUSD", "BTC/USDT") == [1, 2, 3]
    assert queries == [{"symbols": "EURUSD,BTC/USDT"}] * 3


async def test_unavailable(server):
    """A server that is unavailable for a while is called again."""
    url, scripted, queries = server
    scripted += [web.Response(status=503, text="loading"), event(1)]
    async with ModelClient(url, raise_errors=True) as client:
        assert await first(client, 1) == [1]
    assert queries == [{}, {}]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (web.Response(status=401, text="no token"), ServerRejectedError),
        (b"data: no json\n\n", UnexpectedResponseError),
        (b"data: [1]\n\n", UnexpectedResponseError),
    ],
)
async def test_rejected(server, reply, error):
    """A rejection, or what is no event, ends the stream, with `raise_errors` by an error."""
    url, scripted, _ = server
    scripted += [reply]
    async with ModelClient(url, raise_errors=True) as client:
        with pytest.raises(error):
            await first(client, 1)
    if isinstance(reply, bytes):
        scripted += [reply]
        async with ModelClient(url) as client:
            assert [one async for one in client.stream()] == []


async def test_unreachable(free_port, reasons):
    """A server that cannot be reached is tried again until the caller gives up."""
    async with ModelClient(f"http://127.0.0.1:{free_port}", raise_errors=True) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(client.stream())
    assert len(reasons()) > 1
    assert all(reason.startswith("stream interrupted: ") for reason in reasons())
