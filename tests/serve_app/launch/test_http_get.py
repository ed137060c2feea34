"""A GET returns the response whatever its status, and None without one."""

import http.server
import socket
import threading

import pytest

from serve_app.launch.http_get import http_get


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = str(self.headers["Authorization"]).encode()
            self.send_response(int(self.path[1:]))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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
