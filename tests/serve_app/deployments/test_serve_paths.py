"""Serve's own endpoints and options."""

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from serve_app.api.rest.hosts import SECURITY_HEADERS
from serve_app.deployments.serve_paths import ServePathsGuard


async def serve(scope, receive, send):
    """Stand for Serve: return the headers of the request."""
    await JSONResponse(dict(Request(scope).headers))(scope, receive, send)


CLIENT = TestClient(ServePathsGuard(serve))
PAGE = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/-/routes", {}, 404),
        ("/-/routes", PAGE, 404),
        ("/-/healthz", {}, 200),
        ("/-/healthz", PAGE, 404),
        ("/-/healthz", {"Origin": "https://evil.example"}, 404),
        ("/docs", PAGE, 200),
    ],
)
def test_own_paths(path, headers, status):
    """Clients receive no list of applications, and pages of browsers no health check."""
    response = CLIENT.get(path, headers=headers)
    assert response.status_code == status
    for name, value in SECURITY_HEADERS:
        assert response.headers[name.decode()] == value.decode()
    if status == 404:
        assert response.json()["error"]["code"] == "no_such_endpoint"


def test_options():
    """Headers that would change or break Serve's handling of the request do not reach it."""
    sent = {"X-Request-Timeout-Seconds": "0.001", "X-Request-ID": b"\xff", "Accept": "a/b"}
    received = CLIENT.get("/docs", headers=sent).json()
    assert received["accept"] == "a/b"
    assert not {"x-request-timeout-seconds", "x-request-id"} & set(received)
