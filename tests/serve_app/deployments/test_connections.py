"""The connections of a router's own HTTP server."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from starlette.responses import PlainTextResponse
from uvicorn import Config, config
from uvicorn.server import ServerState

from serve_app.api.rest.body_guard import BODY_ARRIVED
from serve_app.deployments import connections
from serve_app.deployments.connections import LimitedProtocol, limit_connections

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def port(monkeypatch):
    """The port of a server with short limits, started as Serve starts it."""
    monkeypatch.setattr(config, "HTTP_PROTOCOLS", dict(config.HTTP_PROTOCOLS))
    monkeypatch.setattr(connections, "HEADERS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(connections, "MAX_WAITING", 3)
    limit_connections()
    async with asyncio.timeout(20), serving() as port:
        yield port
        await asyncio.sleep(0.05)
    assert LimitedProtocol.waiting == {}


async def respond(scope, receive, send):
    """Respond with whether the body had arrived when the request began."""
    response = PlainTextResponse("arrived, ok" if BODY_ARRIVED in scope else "awaited, ok")
    while (await receive()).get("more_body"):
        pass
    await response(scope, receive, send)


@asynccontextmanager
async def serving():
    """Accept connections with the class that uvicorn looks up, and yield the port."""
    settings = Config(respond, lifespan="off", log_config=None)
    settings.load()
    state = ServerState()

    def protocol():
        return settings.http_protocol_class(config=settings, server_state=state, app_state={})

    async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def connect(port, *data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in data:
        writer.write(part)
    return reader, writer


async def is_closed(reader):
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("start", [b"", b"GET / HT", REQUEST[:-2]])
async def test_late_headers(port, start):
    """A connection whose headers do not arrive in time is closed."""
    reader, writer = await connect(port, start)
    assert await is_closed(reader)
    writer.close()


async def test_later_requests(port):
    """The limit applies to every request of a connection, and not to its pauses."""
    reader, writer = await connect(port, REQUEST)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    await asyncio.sleep(0.4)
    writer.write(REQUEST)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.write(REQUEST[:10])
    assert await is_closed(reader)
    writer.close()


async def test_large_headers(port):
    """A connection with endless headers is closed."""
    reader, writer = await connect(port, REQUEST[:-2])
    writer.write(b"a: " + b"b" * connections.MAX_HEADERS_BYTES)
    assert await is_closed(reader)
    writer.close()


async def test_waiting_connections(port, monkeypatch):
    """Beyond the limit of an address its oldest waiting connection is closed, and no other."""
    monkeypatch.setattr(connections, "HEADERS_TIMEOUT_S", 60)
    waiting = [await connect(port) for _ in range(4)]
    assert await is_closed(waiting[0][0])
    reader, writer = await connect(port, REQUEST)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    for _, other in [*waiting, (reader, writer)]:
        other.close()
    await asyncio.sleep(0.05)


async def test_arrived_body(port):
    """A request that arrives as a whole says so; one whose body follows does not."""
    start = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
    reader, writer = await connect(port, start + b"ok")
    assert await reader.readuntil(b"arrived")
    writer.write(start)
    await asyncio.sleep(0.05)
    writer.write(b"ok")
    assert await reader.readuntil(b"awaited")
    writer.close()
