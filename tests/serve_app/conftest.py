"""A client, and the scripted server that it calls."""

import socket

import pytest

from serve_app.client import ModelClient
from testkit.fake_server import FakeServer


@pytest.fixture
async def server():
    """A scripted server."""
    async with FakeServer() as fake:
        yield fake


@pytest.fixture
async def client(server):
    """A client that raises errors."""
    async with ModelClient(server.url, timeout_s=5.0, raise_errors=True) as client:
        yield client


@pytest.fixture
async def quiet_client(server):
    """A client that returns None, False or an empty list instead."""
    async with ModelClient(server.url, timeout_s=5.0) as client:
        yield client


@pytest.fixture
def free_port():
    """A port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def reasons(caplog):
    """Return a function that returns what the client has logged so far."""

    def read():
        return [r.getMessage() for r in caplog.records if r.name.startswith("serve_app.client")]

    return read
