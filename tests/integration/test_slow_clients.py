"""Slow and idle clients, pages of other servers, and large bodies, beside a bot that trades."""

import http.client
import json
import socket
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import numpy as np
import pytest

from serve_app.client import ModelClient
from testkit.latencies import latencies_s

PREDICT = "/api/ml/predict"
WINDOW = np.zeros((60, 110), dtype=np.float32)
HEAD = b"POST /api/ml/outcomes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HALF_REQUESTS = (
    HEAD[:40],
    HEAD + b"Content-Length: 1000\r\n\r\n{",
    HEAD.replace(b"outcomes", b"predict") + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
)


def hold(stack, cluster, number, source, data=b""):
    """Open connections from an address, send `data` on each and leave them open."""
    address = ("127.0.0.1", urlsplit(cluster.url).port)
    for _ in range(number):
        # Beyond the limit of an address HAProxy resets the connection.
        with suppress(ConnectionResetError, BrokenPipeError):
            held = socket.create_connection(address, timeout=5, source_address=(source, 0))
            stack.enter_context(closing(held))
            held.sendall(data)


async def trade(cluster, requests):
    """Return the latencies of predictions one after the other, each of which must succeed."""
    async with ModelClient(cluster.url, raise_errors=True, timeout_s=5) as client:
        return await latencies_s(lambda: client.predict("EURUSD", WINDOW), requests)


async def test_slow_and_idle_clients(cluster):
    """A bot trades on while 300 clients send slowly and more connections stay idle."""
    with ExitStack() as stack:
        for data in HALF_REQUESTS:
            hold(stack, cluster, 100, "127.0.0.2", data)
        hold(stack, cluster, 600, "127.0.0.1")
        hold(stack, cluster, 600, "127.0.0.3")
        for _ in range(3):  # a new connection each time
            assert len(await trade(cluster, 20)) == 20


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        (PREDICT, {"Host": "evil.example"}, b"{}", 421),
        (PREDICT, {"Origin": "https://evil.example"}, b"{}", 403),
        ("/api/ml/models/reload", {"Content-Type": "text/plain"}, b"{}", 415),
        # Rejected before any of the announced body is sent.
        ("/api/ml/models/reload", {"Content-Length": "100000"}, None, 413),
        (PREDICT, {"Content-Length": "2000000"}, None, 413),
    ],
)
def test_rejected_on_every_port(cluster, path, headers, body, status):
    """HAProxy's port and the router's own reject a request alike, with security headers."""
    (router,) = cluster.replicas("Router")
    own = [c.laddr for c in router.net_connections() if c.status == "LISTEN"]
    addresses = [("127.0.0.1", urlsplit(cluster.url).port), *(tuple(a) for a in own)]
    statuses = []
    for host, port in addresses:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        with closing(connection), suppress(http.client.BadStatusLine, ConnectionResetError):
            every = {"Content-Type": "application/json", **headers}
            connection.request("POST", path, body, every)
            response = connection.getresponse()
            assert json.loads(response.read())["error"]["message"]
            assert response.headers["Content-Security-Policy"]
            statuses.append(response.status)
    # A router also listens for gRPC, which is not HTTP/1.1.
    assert statuses == [status] * 2
