"""HAProxy as Ray Serve starts it through haproxy.sh."""

import json
import socket
import stat
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from serve_app.launch import haproxy, haproxy_config
from testkit.cluster import free_ports
from tests.serve_app.launch.haproxy_servers import PER_ADDRESS, listening, started

OTHER = "127.0.0.2"
"""Another address than that of the machine's own programs."""


@pytest.fixture(scope="module")
def backend():
    """The port of a router."""
    with listening() as port:
        yield port


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, backend):
    """A running HAProxy with one router."""
    with started(tmp_path_factory.mktemp("ha"), backend) as proxy:
        yield proxy


def connect(proxy, source="127.0.0.1"):
    """Return a connection from an address."""
    address = ("127.0.0.1", proxy.config.frontend_port)
    return socket.create_connection(address, timeout=20, source_address=(source, 0))


def is_closed(connection):
    """Wait for the server and return whether it closed a connection on which it sent nothing."""
    with closing(connection):
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def test_interfaces(proxy):
    """No port of HAProxy is reachable from another machine."""
    file = str(Path(proxy.config.socket_path).with_name("haproxy.cfg"))
    (process,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if file in (process.info["cmdline"] or ())
    ]
    listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.port for address in listening} == {
        proxy.config.frontend_port,
        proxy.config.stats_port,
        proxy.config.metrics_port,
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
    with started(tmp_path, backend, host=host) as proxy:
        socket.create_connection(("::1", proxy.config.frontend_port), timeout=20).close()
        if has_ipv4:
            connect(proxy).close()
        else:
            with pytest.raises(ConnectionRefusedError):
                connect(proxy)


def test_admin_socket(proxy):
    """Other users of the machine cannot control HAProxy."""
    assert stat.S_IMODE(Path(proxy.config.socket_path).stat().st_mode) == 0o600


def wait_until(condition):
    """Wait until a condition holds: HAProxy's threads accept connections in any order."""
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@contextmanager
def idle_connections(proxy, source):
    """Hold as many idle connections of an address as it may have, and try to hold more."""
    with ExitStack() as stack:
        for _ in range(2 * PER_ADDRESS):
            with suppress(ConnectionResetError):
                stack.enter_context(closing(connect(proxy, source)))
        yield


def test_connections_of_an_address(proxy):
    """An address cannot hold more connections than allowed, and others are unaffected."""

    def is_rejected():
        try:
            proxy.get(OTHER)
        except ConnectionError:
            return True
        return False

    with idle_connections(proxy, OTHER):
        wait_until(is_rejected)
        status, headers, _ = proxy.get()
    assert (status, headers["Connection"]) == (200, None)


def test_connections_of_the_machine(proxy):
    """Idle connections of a program on the server's machine lock out no other program there."""
    with idle_connections(proxy, "127.0.0.1"):
        wait_until(lambda: proxy.get()[1]["Connection"] == "close")
        assert proxy.get()[0] == 200


@pytest.mark.parametrize("path", ["/-/routes", "/-/ROUTES"])
def test_serves_own_paths(proxy, path):
    """Serve's list of applications is not for clients, nor its health check for pages."""
    for own, headers in ((path, {}), ("/-/healthz", {"Origin": "https://evil.example"})):
        status, _, body = proxy.get(path=own, headers=headers)
        assert (status, json.loads(body)["error"]["code"]) == (404, "no_such_endpoint")
    page = {"Sec-Fetch-Site": "same-origin"}
    assert proxy.get(path="/-/healthz", headers=page)[0] == 404
    assert b"success" in proxy.get(path="/-/healthz")[2]


@pytest.mark.slow
def test_headers_timeout(proxy):
    """Idle connections and those with half of their headers are closed after the timeout."""
    idle, half = connect(proxy), connect(proxy)
    half.sendall(b"GET / HTTP/1.1\r\nHo")
    with closing(half):
        assert half.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert is_closed(idle)


@pytest.mark.parametrize("path", ["/", "/-/routes"])
def test_security_headers(proxy, path):
    """Responses that carry no security headers, among them HAProxy's own, receive them."""
    _, headers, _ = proxy.get(path=path)
    for name, value in haproxy_config.SECURITY_HEADERS.items():
        assert headers[name] == value


def test_no_router(tmp_path):
    """Without a router the response is 503 with a reason and Retry-After."""
    (unused,) = free_ports(1)
    with started(tmp_path, unused) as proxy:
        status, headers, body = proxy.get()
    assert (status, headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["error"]["code"] == "no_router"


def test_no_application(tmp_path, backend):
    """Without an application the response is an error of the server, not Serve's text."""
    with started(tmp_path, backend, has_routers=False) as proxy:
        status, headers, body = proxy.get()
    assert (status, headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["error"]["code"] == "no_router"


@pytest.mark.parametrize(
    ("path", "code"), [("/text/500", "proxy_failed"), ("/text/404", "no_router")]
)
def test_texts_of_serve(proxy, path, code):
    """Serve's errors in plain text become errors of the server."""
    status, headers, body = proxy.get(path=path)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["error"]["code"] == code


@pytest.mark.parametrize(
    ("given", "source", "replaced", "expected"),
    [
        (["-f", "c"], None, [], ["-f", "c"]),
        (["-f", "c"], Path("s"), [], ["-f", "c", "-x", "s"]),
        (["-f", "c", "-sf", "1", "-x", "a"], Path("s"), [], ["-f", "c", "-sf", "1", "-x", "s"]),
        (["-f", "c", "-sf", "1", "-x", "a"], None, [2], ["-f", "c", "-sf", "2", "1", "-x", "a"]),
        (["-sf", "1"], None, [1], ["-sf", "1"]),
        (["-f", "c"], Path("s"), [2], ["-f", "c", "-x", "s", "-sf", "2"]),
    ],
)
def test_arguments(given, source, replaced, expected):
    """The sockets come from the spare, and a HAProxy that Serve has forgotten is replaced."""
    assert haproxy.taking_over(given, source, replaced) == expected
