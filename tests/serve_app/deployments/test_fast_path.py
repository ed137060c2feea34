"""The fast path in a router's process, and Serve's default path."""

import asyncio
from types import SimpleNamespace

import pytest
from ray import serve
from starlette.responses import PlainTextResponse
from uvicorn import config

from serve_app.deployments.fast_path import FastPath, FastPathMiddleware, middlewares
from serve_app.deployments.serve_paths import ServePathsGuard


class Api:
    """Has two endpoints, one of them on the fast path; marks what its guards have admitted."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        await self._app(scope, receive, send)

    def is_endpoint(self, scope):
        return scope["path"] in {"/fast", "/slow"}

    def has_fast_path(self, scope):
        return scope["path"] == "/fast"

    def guarded(self, app):
        async def admit(scope, receive, send):
            scope["admitted"] = True
            await app(scope, receive, send)

        return admit


@pytest.fixture
def serves(monkeypatch):
    """Set the deployment that this process serves."""

    def set_deployment(deployment):
        context = SimpleNamespace(servable_object=deployment)
        monkeypatch.setattr(serve, "get_replica_context", lambda: context)

    return set_deployment


async def served_by(path):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    await FastPathMiddleware(PlainTextResponse("Serve"))(scope, None, send)
    return sent[1]["body"].decode()


def router():
    return SimpleNamespace(fast_path=FastPath(Api(PlainTextResponse("router")), 1))


async def test_router_serves_its_fast_path_only(serves):
    """Requests on the fast path go to the router, all others to Serve."""
    serves(router())
    assert await served_by("/fast") == "router"
    assert await served_by("/other") == "Serve"


@pytest.mark.parametrize("deployment", [None, object()])
async def test_other_deployments_have_no_fast_path(serves, deployment):
    """Without a router in this process every request goes to Serve."""
    serves(deployment)
    assert await served_by("/fast") == "Serve"


async def test_endpoints_are_guarded(serves):
    """Requests for endpoints are admitted in front of Serve, others behind it."""
    serves(router())
    served = []

    async def default(scope, receive, send):
        served.append((scope["path"], "admitted" in scope))

    middleware = FastPathMiddleware(default)
    for path in ("/slow", "/-/healthz", "/slow"):
        await middleware({"type": "http", "method": "GET", "path": path, "headers": []}, None, None)
    assert served == [("/slow", True), ("/-/healthz", False), ("/slow", True)]


async def test_other_event_loops_have_no_fast_path(serves):
    """Where the HTTP server has its own event loop, every request goes to Serve."""
    serves(router())
    assert await asyncio.to_thread(asyncio.run, served_by("/fast")) == "Serve"


def test_proxy_has_no_fast_path(monkeypatch):
    """Serve's fallback proxy hides Serve's own paths and limits its connections, no more."""
    monkeypatch.setattr(config, "HTTP_PROTOCOLS", dict(config.HTTP_PROTOCOLS))
    before = config.HTTP_PROTOCOLS["auto"]
    assert [middleware.cls for middleware in middlewares()] == [ServePathsGuard]
    assert config.HTTP_PROTOCOLS["auto"] != before


def test_replica_has_the_middleware(serves, monkeypatch):
    """The HTTP server of a replica has the fast path's middleware, and limits its connections."""
    monkeypatch.setattr(config, "HTTP_PROTOCOLS", dict(config.HTTP_PROTOCOLS))
    serves(None)
    assert [middleware.cls for middleware in middlewares()] == [FastPathMiddleware]


async def test_requests_in_flight_are_limited():
    """At most `max_ongoing_requests` are in flight on the fast path; others wait."""
    in_flight, counts, may_finish = set(), [], asyncio.Event()

    async def app(scope, receive, send):
        in_flight.add(scope["number"])
        counts.append(len(in_flight))
        await may_finish.wait()
        in_flight.discard(scope["number"])

    entry = FastPath(Api(app), 2).in_front_of(PlainTextResponse("Serve"))
    scopes = [{"path": "/fast", "number": number} for number in range(5)]
    requests = [asyncio.create_task(entry(scope, None, None)) for scope in scopes]
    await asyncio.sleep(0.01)
    assert counts == [1, 2]
    may_finish.set()
    await asyncio.gather(*requests)
    assert (len(counts), max(counts)) == (5, 2)


@pytest.mark.parametrize("path", ["/", "/fast", "/-/routes"])
async def test_deployment_without_http(serves, path):
    """A deployment that is reached through handles only responds 404, also in place of Serve."""
    serves(SimpleNamespace(serves_http=False))
    assert await served_by(path) == "Not Found"
