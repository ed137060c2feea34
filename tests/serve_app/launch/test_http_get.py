"""A GET returns the response whatever its status, and None without one."""

import socket

import pytest

from serve_app.launch.http_get import http_get
from testkit.http_server import serving


@pytest.fixture
def server():
    """Responds to /STATUS with the Authorization of the request."""

    def respond(path, headers):
        return int(path[1:]), str(headers["Authorization"]).encode()

    with serving(respond) as url:
        yield url


@pytest.mark.parametrize("status", [200, 404, 503])
def test_response(server, status):
    """The status and the body are those of the response."""
    response = http_get(f"{server}/{status}", {"Authorization": "Bearer a"})
    assert (response.status, response.body) == (status, b"Bearer a")


def test_no_server():
    """Where nothing listens there is no response."""
    assert http_get("http://127.0.0.1:9/") is None


def test_no_response():
    """A server that accepts a connection and sends nothing gives no response within the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert http_get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.05) is None
