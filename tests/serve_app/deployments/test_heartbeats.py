"""The thread that replies to heartbeats."""

import asyncio
import os
import socket

import pytest

from serve_app.deployments import heartbeats


async def ask(connection):
    """Return the reply to one heartbeat."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, b"GET /-/healthz HTTP/1.0\r\n\r\n")
    return await loop.sock_recv(connection, 1000)


def connected(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.setblocking(False)
    return connection


async def test_replies(tmp_path, monkeypatch):
    """Each heartbeat of a connection receives 200, and 503 once the event loop does not turn."""
    monkeypatch.setenv(heartbeats.FOLDER_VARIABLE, str(tmp_path / "ha" / "haproxy.cfg"))
    listener = heartbeats.listener_for_haproxy("abc123")
    time_s = [0.0]
    heartbeats.HeartbeatServer(listener, clock=lambda: time_s[0])
    with connected(str(tmp_path / "ha" / f"abc123.{os.getpid()}.alive")) as connection:
        assert (await ask(connection)).startswith(b"HTTP/1.1 200 ")
        assert (await ask(connection)).startswith(b"HTTP/1.1 200 ")
        time_s[0] += heartbeats.STALLED_S
        assert (await ask(connection)).startswith(b"HTTP/1.1 503 ")


async def test_a_blocked_loop():
    """The thread replies while the event loop runs something else."""
    listener = heartbeats.listener_for_routers("127.0.0.1")
    heartbeats.HeartbeatServer(listener)
    with socket.create_connection(listener.getsockname(), timeout=20) as connection:
        connection.sendall(b"?")
        assert connection.recv(1000) == b"!"  # blocks this loop


async def test_other_programs():
    """A port of the network replies to heartbeats only; anything else ends the connection."""
    listener = heartbeats.listener_for_routers("127.0.0.1")
    heartbeats.HeartbeatServer(listener)
    with socket.create_connection(listener.getsockname(), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(1000) == b""


async def test_many_connections(tmp_path, monkeypatch):
    """Connections beyond the limit are closed, and those within it are served."""
    monkeypatch.setattr(heartbeats, "MAX_CONNECTIONS", 2)
    listener = heartbeats.listener_for_routers("127.0.0.1")
    heartbeats.HeartbeatServer(listener)
    address = listener.getsockname()
    with (
        socket.create_connection(address, timeout=20) as first,
        socket.create_connection(address, timeout=20) as second,
        socket.create_connection(address, timeout=20) as third,
    ):
        assert third.recv(1) == b""
        for connection in (first, second):
            connection.sendall(b"?")
            assert connection.recv(1000) == b"!"


@pytest.mark.parametrize("name", ["a" * 200, "b/c"])
def test_no_socket(tmp_path, monkeypatch, caplog, name):
    """A router without the socket starts nevertheless; HAProxy then checks its HTTP server."""
    monkeypatch.setenv(heartbeats.FOLDER_VARIABLE, str(tmp_path / "haproxy.cfg"))
    assert heartbeats.listener_for_haproxy(name) is None
    assert "no heartbeats for HAProxy" in caplog.text
