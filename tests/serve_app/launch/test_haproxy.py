"""HAProxy as Ray Serve starts it through haproxy.sh."""

import asyncio
import json
import socket
import stat
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from ray.serve._private import haproxy as ray_haproxy
from ray.serve.config import HTTPOptions

from serve_app.launch import haproxy
from serve_app.launch.environment import MACHINE_ENVIRONMENT
from testkit.cluster import free_ports

PER_ADDRESS = 20
OTHER = "127.0.0.2"
"""Another address than that of the machine's own programs."""


class Backend(BaseHTTPRequestHandler):
    """A router that responds at once, with keep-alive."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def backend():
    """The port of a router."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def started(folder, server_port, host=""):
    """Start HAProxy with Serve's own class; yield its configuration."""
    port, stats, metrics = free_ports(3)
    config = ray_haproxy.HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        stats_port=stats,
        metrics_port=metrics,
        metrics_enabled=False,
        has_received_routes=True,
        is_head=True,
        http_options=HTTPOptions(host="127.0.0.1", port=port),
    )
    servers = [ray_haproxy.ServerConfig(name="router", host="127.0.0.1", port=server_port)]
    backend = ray_haproxy.BackendConfig(
        name="app", path_prefix="/", app_name="app", servers=servers, http_health_check_path="/"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in MACHINE_ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv(haproxy.LIMIT_VARIABLE, str(PER_ADDRESS))
        patch.setenv(haproxy.HOST_VARIABLE, host)
        executable = MACHINE_ENVIRONMENT["RAY_SERVE_HAPROXY_BINARY_PATH"]
        patch.setattr(ray_haproxy, "RAY_SERVE_HAPROXY_BINARY_PATH", executable)
        loop = asyncio.new_event_loop()
        api = ray_haproxy.HAProxyApi(config, {"app": backend}, str(folder / "haproxy.cfg"))
        with closing(loop):
            loop.run_until_complete(api.start())
            yield config
            loop.run_until_complete(api.stop())


@pytest.fixture(scope="module")
def config(tmp_path_factory, backend):
    """The configuration of a running HAProxy with one router."""
    with started(tmp_path_factory.mktemp("ha"), backend) as config:
        yield config


def connect(config, source="127.0.0.1"):
    """Return a connection from an address."""
    address = ("127.0.0.1", config.frontend_port)
    return socket.create_connection(address, timeout=20, source_address=(source, 0))


def is_closed(connection):
    """Wait for the server and return whether it closed a connection on which it sent nothing."""
    with closing(connection):
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def get(config, source="127.0.0.1", path="/", headers=()):
    """Return the status, the headers and the body of a request."""
    connection = HTTPConnection(
        "127.0.0.1", config.frontend_port, timeout=20, source_address=(source, 0)
    )
    with closing(connection):
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_interfaces(config):
    """No port of HAProxy is reachable from another machine."""
    file = str(Path(config.socket_path).with_name("haproxy.cfg"))
    (process,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if file in (process.info["cmdline"] or ())
    ]
    listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.port for address in listening} == {
        config.frontend_port,
        config.stats_port,
        config.metrics_port,
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}


def has_ipv6():
    """Return whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(("host", "has_ipv4"), [("::", True), ("::1", False)])
def test_ipv6(tmp_path, backend, host, has_ipv4):
    """HAProxy listens on the IPv6 address; on every interface of both with `::`."""
    with started(tmp_path, backend, host) as config:
        socket.create_connection(("::1", config.frontend_port), timeout=20).close()
        if has_ipv4:
            connect(config).close()
        else:
            with pytest.raises(ConnectionRefusedError):
                connect(config)


def test_admin_socket(config):
    """Other users of the machine cannot control HAProxy."""
    assert stat.S_IMODE(Path(config.socket_path).stat().st_mode) == 0o600


def wait_until(condition):
    """Wait until a condition holds: HAProxy's threads accept connections in any order."""
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@contextmanager
def idle_connections(config, source):
    """Hold as many idle connections of an address as it may have, and try to hold more."""
    with ExitStack() as stack:
        for _ in range(2 * PER_ADDRESS):
            with suppress(ConnectionResetError):
                stack.enter_context(closing(connect(config, source)))
        yield


def test_connections_of_an_address(config):
    """An address cannot hold more connections than allowed, and others are unaffected."""

    def is_rejected():
        try:
            get(config, OTHER)
        except ConnectionResetError:
            return True
        return False

    with idle_connections(config, OTHER):
        wait_until(is_rejected)
        status, headers, _ = get(config)
    assert (status, headers["Connection"]) == (200, None)


def test_connections_of_the_machine(config):
    """Idle connections of a program on the server's machine lock out no other program there."""
    with idle_connections(config, "127.0.0.1"):
        wait_until(lambda: get(config)[1]["Connection"] == "close")
        assert get(config)[0] == 200


@pytest.mark.parametrize("path", ["/-/routes", "/-/ROUTES"])
def test_serves_own_paths(config, path):
    """Serve's list of applications is not for clients, nor its health check for pages."""
    for own, headers in ((path, {}), ("/-/healthz", {"Origin": "https://evil.example"})):
        status, _, body = get(config, path=own, headers=headers)
        assert (status, json.loads(body)["error"]["code"]) == (404, "no_such_endpoint")
    page = {"Sec-Fetch-Site": "same-origin"}
    assert get(config, path="/-/healthz", headers=page)[0] == 404
    assert b"success" in get(config, path="/-/healthz")[2]


@pytest.mark.slow
def test_headers_timeout(config):
    """Idle connections and those with half of their headers are closed after the timeout."""
    idle, half = connect(config), connect(config)
    half.sendall(b"GET / HTTP/1.1\r\nHo")
    with closing(half):
        assert half.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert is_closed(idle)


@pytest.mark.parametrize("path", ["/", "/-/routes"])
def test_security_headers(config, path):
    """Responses that carry no security headers, among them HAProxy's own, receive them."""
    _, headers, _ = get(config, path=path)
    for name, value in haproxy.SECURITY_HEADERS.items():
        assert headers[name] == value


def test_no_router(tmp_path):
    """Without a router the response is 503 with a reason and Retry-After."""
    (unused,) = free_ports(1)
    with started(tmp_path, unused) as config:
        status, headers, body = get(config)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["error"]["code"] == "no_router"


def test_unknown_template():
    """A configuration of another form is rejected, so that no limit is silently lost."""
    with pytest.raises(haproxy.UnknownTemplateError, match=r"expected one line .* received 0"):
        haproxy.with_limits("global\n    maxconn 4096\n", Path("/tmp"), 512, 4096)


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(10_440, 4096), (1024, 329), (100, 1), (sys.maxsize, 16_384)]
)
def test_affordable_connections(descriptors, expected):
    """HAProxy starts with few descriptors, too: each connection needs two and a half."""
    assert haproxy.affordable_connections(descriptors) == expected
