"""Bodies are read within limits."""

import asyncio

import pytest

from serve_app.api.rest.body_guard import (
    COMMAND_BYTES,
    MIN_PREDICT_BYTES,
    OUTCOMES_BYTES,
    BodyGuard,
    BodyLimits,
    BodyMemory,
)
from serve_app.api.rest.schemas import NPY, RAW
from serve_app.errors import BodyMemoryError
from serve_app.launch.haproxy_config import CLIENT_TIMEOUT_S
from serve_app.timeouts import BODY_S
from tests.serve_app.api.rest.bodies import body, check_error

PREDICT = "/api/ml/predict"
RELOAD = "/api/ml/models/reload"
LIMITS = BodyLimits(largest=16_000_000, largest_window=lambda: 26_400)


def guard(app, memory=None, timeout_s=5.0):
    return BodyGuard(app, LIMITS, memory or BodyMemory(10**9), timeout_s)


def scope(path=PREDICT, length=None, kind=b"application/json"):
    headers = [(b"content-type", kind)]
    if length is None:
        headers.append((b"transfer-encoding", b"chunked"))
    else:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http", "method": "POST", "path": path, "headers": headers}


class Client:
    """Sends chunks of a body, then nothing; collects what it receives."""

    def __init__(self, *chunks, complete=True):
        self._chunks, self._complete = list(chunks), complete
        self.reads, self.sent = 0, []

    async def receive(self):
        self.reads += 1
        if not self._chunks:
            await asyncio.sleep(60)
        chunk = self._chunks.pop(0)
        return {
            "type": "http.request",
            "body": chunk,
            "more_body": bool(self._chunks) or not self._complete,
        }

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]


class App:
    """Receives the body that the guard has read."""

    body = None

    async def __call__(self, scope, receive, send):
        message = await receive()
        assert not message.get("more_body", False)
        self.body = message["body"]


async def test_body_in_chunks():
    """The application receives a body of several chunks in one message."""
    app, client = App(), Client(b"ab", b"", b"c")
    await guard(app)(scope(), client.receive, client.send)
    assert app.body == b"abc"


@pytest.mark.parametrize(
    ("path", "window_bytes", "expected"),
    [
        (PREDICT, 26_400, MIN_PREDICT_BYTES),
        (PREDICT, 100_000, 2_000_000),
        (PREDICT, 10**9, 16_000_000),
        ("/api/ml/predict/batch", 26_400, 16_000_000),
        ("/api/ml/outcomes", 26_400, OUTCOMES_BYTES),
        (RELOAD, 26_400, COMMAND_BYTES),
        ("/api/ml/ab-test/a/stop", 26_400, COMMAND_BYTES),
    ],
)
def test_limits(path, window_bytes, expected):
    """Each endpoint has its own limit; that of a prediction follows the largest window."""
    limits = BodyLimits(largest=16_000_000, largest_window=lambda: window_bytes)
    assert limits.of(path) == expected


async def test_route_prefix():
    """Below a route_prefix the limits and types of an endpoint are the same."""
    app, client = App(), Client(b"x" * MIN_PREDICT_BYTES)
    prefixed = {**scope(f"/trading{PREDICT}", kind=RAW.encode()), "root_path": "/trading"}
    await guard(app)(prefixed, client.receive, client.send)
    assert len(app.body) == MIN_PREDICT_BYTES


async def test_announced_length_is_checked_first():
    """A body that announces too many bytes is rejected before any of it is read."""
    app, client = App(), Client(b"x")
    await guard(app)(scope(length=MIN_PREDICT_BYTES + 1), client.receive, client.send)
    assert (client.status, client.reads, app.body) == (413, 0, None)


@pytest.mark.parametrize("length", [None, 10])
async def test_received_length_is_checked(length):
    """A body without a length, or with a false one, is rejected while it is read."""
    client = Client(*[b"x" * 100_000] * 20)
    await guard(App())(scope(length=length), client.receive, client.send)
    assert (client.status, client.reads) == (413, 11)


@pytest.mark.parametrize(
    ("encoding", "status"), [(b"gzip", 415), (b"br, gzip", 415), (b"Identity", 200)]
)
async def test_compressed_body(encoding, status):
    """A compressed body is rejected with what is expected, before any of it is read."""
    app, client = App(), Client(b"abc")
    compressed = scope()
    compressed["headers"].append((b"content-encoding", encoding))
    await guard(app)(compressed, client.receive, client.send)
    if status == 200:
        assert app.body == b"abc"
        return
    assert (client.status, client.reads, app.body) == (415, 0, None)
    assert b"expected identity or no such header, received" in client.sent[1]["body"]


async def test_slow_body():
    """A body that does not arrive in time is rejected."""
    client = Client(b"x", complete=False)
    await guard(App(), timeout_s=0.01)(scope(), client.receive, client.send)
    assert client.status == 408
    assert b"received 1 bytes" in client.sent[1]["body"]


async def test_memory_of_all_bodies():
    """While bodies fill the memory others are rejected, and served once it is free again."""
    memory, may_end = BodyMemory(10), asyncio.Event()

    async def app(scope, receive, send):
        await may_end.wait()

    one, other = Client(b"12345678"), Client(b"abc")
    first = asyncio.create_task(guard(app, memory)(scope(), one.receive, one.send))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert memory.held == 8
    await guard(app, memory)(scope(), other.receive, other.send)
    assert other.status == 503
    assert (b"retry-after", b"1") in other.sent[0]["headers"]
    may_end.set()
    await first
    assert memory.held == 0


async def test_memory_after_failures():
    """A request that fails, or whose client leaves, releases its bytes."""
    memory = BodyMemory(10)

    async def failing(scope, receive, send):
        raise RuntimeError

    client = Client(b"123")
    with pytest.raises(RuntimeError):
        await guard(failing, memory)(scope(), client.receive, client.send)

    async def gone():
        return {"type": "http.disconnect"}

    await guard(App(), memory)(scope(), gone, client.send)
    assert memory.held == 0


def test_lease_beyond_the_limit():
    """A lease never holds more than the limit."""
    memory = BodyMemory(10)
    with memory.lease() as lease:
        lease.add(10)
        with pytest.raises(BodyMemoryError, match="expected at most 10 bytes at once"):
            lease.add(1)
    assert memory.held == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        RAW,
        NPY,
    ],
)
@pytest.mark.parametrize("path", [RELOAD, "/api/ml/outcomes", "/api/ml/ab-test/create"])
def test_commands_accept_json_only(http, path, content_type):
    """A command in any other type is rejected: a page could send it without permission."""
    response = http.post(path, content=b"{}", headers={"Content-Type": content_type})
    error = check_error(response, 415, "unsupported_media_type")
    assert error["message"].startswith("Content-Type: expected application/json, received")


@pytest.mark.parametrize("path", [PREDICT, "/api/ml/predict/batch", RELOAD, "/api/ml/outcomes"])
def test_missing_type(http, path):
    """A body without a type is rejected."""
    error = check_error(http.post(path, content=b"{}"), 415, "unsupported_media_type")
    assert "received no such header" in error["message"]


def test_types_of_predictions(http):
    """A prediction accepts JSON and two types of numbers, and rejects text and forms."""
    for content_type, status in (
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/json, text/plain", 415),
    ):
        headers = {"Content-Type": content_type}
        response = http.post(PREDICT, json=body(), headers=headers)
        assert response.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json"}, 200),
        ({"Content-Type": RAW}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_command_without_a_body(http, headers, status):
    """A command without a body needs no type, and no type of a form."""
    response = http.post("/api/ml/ab-test/absent/stop", headers=headers)
    assert response.status_code == status


def test_bodies_of_no_endpoint(http):
    """A body for no endpoint is not read."""
    read = []

    def chunks():
        read.append(True)
        yield b"x" * COMMAND_BYTES * 2

    response = http.post(
        "/api/ml/nothing", content=chunks(), headers={"Content-Type": "text/plain"}
    )
    check_error(response, 404, "no_such_endpoint")


def test_haproxy_waits_longer():
    """HAProxy does not end a request whose body the router still waits for."""
    assert CLIENT_TIMEOUT_S > BODY_S
