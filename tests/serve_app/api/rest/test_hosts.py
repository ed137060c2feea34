"""Requests that a browser sends for a page of another server."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from serve_app.api.rest.hosts import GUARDED, SECURITY_HEADERS, HostGuard, HostRules
from serve_app.errors import ForeignOriginError, UnknownHostError
from serve_app.launch import haproxy_config as haproxy
from tests.serve_app.api.rest.bodies import body, check_error

RULES = HostRules(["Trading-Box", "10.0.0.5", "[fd00::5]"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8001",
        "localhost.",
        "127.0.0.1:8001",
        "127.0.0.2",
        "[::1]:8001",
        "trading-box",
        "trading-box:80",
        "10.0.0.5:8001",
        "[fd00::5]:8001",
    ],
)
def test_own_names(host):
    """This machine's loopback names and the configured ones are accepted, with any port."""
    RULES.check(host.encode(), None)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:8001",
        "10.0.0.6",
        "localhost@evil.example",
        "evil.example/localhost",
        "localhost:x",
        "[::1",
        "2130706433",
        "trading-box.evil.example",
        "\xff",
    ],
)
def test_other_names(host):
    """Every other name is rejected: a page may have pointed it at this machine."""
    with pytest.raises(
        UnknownHostError, match=r"expected localhost.*add the name to router\.hosts"
    ):
        RULES.check(host.encode("latin-1"), None)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8001", "http://localhost:8001"),
        ("127.0.0.1:8001", "https://127.0.0.1:8001"),
        ("localhost:8001", "https://trading-box"),
    ],
)
def test_own_pages(host, origin):
    """Pages of the address in use, and of a configured name on any port, are accepted."""
    RULES.check(host.encode(), origin.encode())


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8001",
        "null",
        "",
        "http://[",
    ],
)
def test_foreign_pages(origin):
    """Pages of all others are rejected, also those of other programs on this machine."""
    with pytest.raises(ForeignOriginError, match="expected a page of this server"):
        RULES.check(b"localhost:8001", origin.encode())


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "unknown_host"),
        ({"Origin": "https://evil.example"}, 403, "foreign_origin"),
    ],
)
@pytest.mark.parametrize("path", ["/api/ml/predict", "/api/ml/outcomes", "/api/ml/nothing"])
def test_rejection(http, counted, path, headers, status, code):
    """Every endpoint rejects such requests, and closes their connection."""
    response = http.post(path, json=body(), headers=headers)
    check_error(response, status, code)
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/api/ml/health", "/api/ml/nothing", "/openapi.json"])
def test_security_headers(http, path):
    """Every response carries the security headers, errors included."""
    for headers in ({}, {"Host": "evil.example"}):
        response = http.get(path, headers=headers)
        for name, value in SECURITY_HEADERS:
            assert response.headers[name.decode()] == value.decode()


def test_security_headers_of_haproxy():
    """HAProxy's own responses carry the same headers."""
    ours = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    assert {name.lower(): value for name, value in haproxy.SECURITY_HEADERS.items()} == ours


def test_own_headers_are_kept():
    """A response with a policy of its own keeps it."""
    policy = {"Content-Security-Policy": "script-src 'self'"}
    guard = HostGuard(PlainTextResponse("", headers=policy), HostRules())
    response = TestClient(guard, "http://localhost").get("/")
    assert response.headers.get_list("content-security-policy") == ["script-src 'self'"]


def test_no_redirects(http):
    """No response redirects, since an address with a slash at its end is no endpoint."""
    response = http.get("/api/ml/models/", follow_redirects=False)
    check_error(response, 404, "no_such_endpoint")


async def test_accepted_requests_are_marked():
    """The application learns that the request has passed the guards."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    await HostGuard(app, HostRules())(
        {"type": "http", "headers": [(b"host", b"localhost")]}, None, None
    )
    assert scopes[0][GUARDED]


def test_repeated_host():
    """A request with two Host headers is rejected: another server may read the other one."""
    headers = [("Host", "localhost"), ("Host", "localhost")]
    guard = HostGuard(PlainTextResponse("ok"), RULES)
    response = TestClient(guard, "http://localhost").get("/", headers=headers)
    assert "received 2" in check_error(response, 400, "repeated_host")["message"]
